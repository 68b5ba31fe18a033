"""Computes for ever, deaf to signals."""

POINTS = 0
VERDICT = "TIMEOUT"
CELL = r"""# exercise: commit.1
import signal


def decide(participants, votes, late):
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    while True:
        pass
"""
