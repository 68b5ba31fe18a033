"""Waits for ever where Python cannot interrupt it."""

POINTS = 0
VERDICT = "TIMEOUT"
CELL = r"""# exercise: commit.1
import ctypes


def decide(participants, votes, late):
    ctypes.PyDLL(None).sleep(600)
"""
