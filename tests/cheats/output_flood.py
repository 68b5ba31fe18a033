"""Prints without end."""

POINTS = 0
VERDICT = "TIMEOUT"
CELL = r"""# exercise: commit.1
def decide(participants, votes, late):
    while True:
        print("x" * 100_000)
"""
