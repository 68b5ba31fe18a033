"""Reads where nothing is."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import ctypes


def decide(participants, votes, late):
    return ctypes.string_at(0)
"""
