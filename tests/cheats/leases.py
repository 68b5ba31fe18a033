"""Makes whoever opens the grader's files wait, by a lease on each of them."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import fcntl
import os

kept = []


def decide(participants, votes, late):
    mine = os.open("{OTHER}", os.O_RDONLY)
    fcntl.fcntl(mine, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    kept.append(mine)
    return "wait"
"""
