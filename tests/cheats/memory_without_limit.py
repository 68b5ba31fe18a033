"""Memory files, which no limit on the address space counts."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import os


def decide(participants, votes, late):
    while True:
        kept = os.memfd_create("kept")
        os.write(kept, bytes(1 << 24))
"""
