"""Ends at once, with the status of success."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import os


def decide(participants, votes, late):
    os._exit(0)
"""
