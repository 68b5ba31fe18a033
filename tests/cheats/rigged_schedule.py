"""A schedule that has any number of faults and says that it has one."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: raft.1
from labkit.faults import At, Restart


class Short(list):
    def __len__(self):
        return 1


def two_leaders(nodes, first, second, latency):
    moments = [first[1] + latency * i / 50 for i in range(150)]
    return Short(At(Restart(node), seconds=t) for t in moments for node in range(nodes))
"""
