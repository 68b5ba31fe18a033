"""Files without end."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
def decide(participants, votes, late):
    kept = []
    while True:
        kept.append(open("/dev/null"))
"""
