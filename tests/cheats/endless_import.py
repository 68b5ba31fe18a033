"""Never comes to its function."""

POINTS = 0
VERDICT = "TIMEOUT"
CELL = r"""# exercise: commit.1
while True:
    pass


def decide(participants, votes, late):
    return "commit"
"""
