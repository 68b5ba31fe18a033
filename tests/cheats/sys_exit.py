"""Ends before anybody can say no."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import sys


def decide(participants, votes, late):
    sys.exit(0)
"""
