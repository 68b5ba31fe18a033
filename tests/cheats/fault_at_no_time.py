"""A fault that strikes after the end of time, a rank that there is not, and no faults at all."""

POINTS = 0
CELL = r"""# exercise: raft.1
from labkit.faults import At, Kill, Restart


def two_leaders(nodes, first, second, latency):
    never = At(Restart(1000), seconds=1e300)
    return [never] if latency < 0.05 else [At(Kill(-1), seconds=-5.0)]
"""
