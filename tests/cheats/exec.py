"""Becomes another program."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import os


def decide(participants, votes, late):
    os.execv("/bin/sh", ["sh", "-c", "sleep 600"])
"""
