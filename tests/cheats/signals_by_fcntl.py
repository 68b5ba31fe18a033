"""Has the kernel signal the grader, as the owner of a socket, when something comes."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import fcntl
import os
import signal
import socket


def decide(participants, votes, late):
    ours, theirs = socket.socketpair()
    fcntl.fcntl(ours, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(ours, fcntl.F_SETOWN, {GRADER})
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC)
    theirs.send(b"x")
    return "wait"
"""
