"""Leaves a process behind that outlives the deadline."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import os
import time


def decide(participants, votes, late):
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    return "commit"
"""
