"""Processes without end."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import os


def decide(participants, votes, late):
    while True:
        os.fork()
"""
