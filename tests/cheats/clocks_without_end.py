"""Clocks that run so fast that the simulator would never get to the next second."""

POINTS = 0
VERDICT = "FAIL"
CELL = r"""# exercise: raft.1
from labkit.faults import At, Drift


def two_leaders(nodes, first, second, latency):
    return [At(Drift(first[0], 1e12), seconds=0.1)]
"""
