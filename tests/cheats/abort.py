"""Ends with a signal of its own."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import os


def decide(participants, votes, late):
    os.abort()
"""
