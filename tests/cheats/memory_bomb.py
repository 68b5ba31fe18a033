"""Memory without end."""

POINTS = 0
CELL = r"""# exercise: commit.1
def decide(participants, votes, late):
    kept = []
    while True:
        kept.append(bytearray(1 << 26))
"""
