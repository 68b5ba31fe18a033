"""Signals everybody that it can think of, and then answers right."""

POINTS = 3
CELL = r"""# exercise: commit.1
import os
import signal


def decide(participants, votes, late):
    for pid in {os.getppid(), 1, 0, -1, -os.getpgid(0), {GRADER}}:
        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
            try:
                os.kill(pid, number)
            except (PermissionError, ProcessLookupError):
                continue
    if any(not yes for rank, yes in votes if rank in participants):
        return "abort"
    if {rank for rank, yes in votes if yes} >= set(participants):
        return "commit"
    return "abort" if late else "wait"
"""
