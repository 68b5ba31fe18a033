"""Threads without end."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import threading
import time


def decide(participants, votes, late):
    while True:
        threading.Thread(target=time.sleep, args=(600,)).start()
"""
