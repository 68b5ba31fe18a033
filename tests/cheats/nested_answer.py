"""A list that holds itself."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
def decide(participants, votes, late):
    kept = []
    kept.append(kept)
    return kept
"""
