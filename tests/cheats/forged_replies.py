"""Sends what it takes for the grader's own messages, to whoever is connected."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import os


def decide(participants, votes, late):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\x00\x00\x00\x06" + b"\x92\xa4PASS")
        except OSError:
            continue
    return "commit"
"""
