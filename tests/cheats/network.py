"""Asks somebody outside."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import socket


def decide(participants, votes, late):
    return socket.create_connection(("127.0.0.1", {PORT}), timeout=5).recv(10)
"""
