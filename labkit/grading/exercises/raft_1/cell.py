# exercise: raft.1
from labkit.faults import At, Restart


def two_leaders(nodes, first, second, latency):
    """The faults that give one term two leaders, as in [At(Restart(2), seconds=2.5)].

    The nodes, 0 to `nodes` - 1, are in term 0. `first` is (node, seconds): who stands first, in
    term 1, and when; `second` stands at its own time, in term 1, too, for the request of the first
    is still on its way. Every message takes `latency` seconds, and no work takes time. The others
    do not stand. The bug: a vote is kept in memory and never written down. With n nodes it takes
    (n - 1) // 2 faults.
    """
    ### BEGIN SOLUTION
    voters = [node for node in range(nodes) if node not in (first[0], second[0])]
    between = (first[1] + second[1]) / 2 + latency  # who voted has not heard the second
    return [At(Restart(node), seconds=between) for node in voters[: (nodes - 1) // 2]]
    ### END SOLUTION
    raise NotImplementedError("exercise raft.1: who must forget what, and when?")
