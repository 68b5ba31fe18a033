"""Leaves a thread behind, and answers right: that is honest, if untidy."""

POINTS = 3
CELL = r"""# exercise: commit.1
import threading
import time


def decide(participants, votes, late):
    threading.Thread(target=time.sleep, args=(600,)).start()
    if any(not yes for rank, yes in votes if rank in participants):
        return "abort"
    if {rank for rank, yes in votes if yes} >= set(participants):
        return "commit"
    return "abort" if late else "wait"
"""
