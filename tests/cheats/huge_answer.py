"""More than fits into a message."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
def decide(participants, votes, late):
    return "x" * (1 << 27)
"""
