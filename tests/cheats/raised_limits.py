"""Takes its limits away first."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import resource


def decide(participants, votes, late):
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    return bytearray(1 << 40)
"""
