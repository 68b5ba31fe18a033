"""Reads and writes the memory of its parent."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import ctypes
import os


def decide(participants, votes, late):
    libc = ctypes.CDLL(None, use_errno=True)
    for pid in (os.getppid(), {GRADER}):
        if libc.ptrace(16, pid, 0, 0) == 0:
            return "commit"
    return open(f"/proc/{os.getppid()}/mem", "r+b").read(1)
"""
