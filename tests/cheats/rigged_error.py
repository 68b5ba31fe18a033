"""An error that takes for ever to tell."""

POINTS = 0
VERDICT = "TIMEOUT"
CELL = r"""# exercise: commit.1
class Slow(Exception):
    def __str__(self):
        while True:
            pass


def decide(participants, votes, late):
    raise Slow
"""
