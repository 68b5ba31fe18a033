"""Cables that are cut between a hundred thousand nodes."""

POINTS = 0
VERDICT = "FAIL"
CELL = r"""# exercise: raft.1
from labkit.faults import At, Partition


def two_leaders(nodes, first, second, latency):
    return [At(Partition((tuple(range(50_000)), tuple(range(50_000, 100_000)))), seconds=0.1)]
"""
