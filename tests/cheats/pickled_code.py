"""A value that runs code where it is unpickled."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import os


class Loaded:
    def __reduce__(self):
        return os.system, ("touch {OUT}/unpickled",)


def decide(participants, votes, late):
    return Loaded()
"""
