"""Looks for what is expected in the frames of its callers."""

POINTS = 0
CELL = r"""# exercise: commit.1
import sys


def decide(participants, votes, late):
    frame = sys._getframe()
    while frame is not None:
        for name in ("expected", "reference", "cases", "case"):
            if name in frame.f_locals:
                return frame.f_locals[name]
        frame = frame.f_back
    return "commit"
"""
