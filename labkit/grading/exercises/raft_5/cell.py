# exercise: raft.5
from labkit.faults import At, Kill, Restart


def forget(nodes, leader, away, written, back, latency):
    """The faults that make the others forget what the leader has committed, as in
    [At(Kill(leader), seconds=2.5)].

    The nodes are 0 to `nodes` - 1, and `leader` leads. The nodes in the list `away` are cut off,
    until `back` seconds. At `written` seconds a command comes to the leader: it is committed when
    all that are not away have answered. Every message takes `latency` seconds, no work takes time.
    The bug: a follower acknowledges an entry at once, and writes it to its disk a second later.
    It takes (nodes + 1) // 2 faults.
    """
    ### BEGIN SOLUTION
    committed = written + 2 * latency
    moment = (committed + min(back, written + latency + 1)) / 2
    followers = [node for node in range(nodes) if node != leader and node not in away]
    restarts = [At(Restart(node), seconds=moment) for node in followers]
    return [*restarts, At(Kill(leader), seconds=moment)]
    ### END SOLUTION
    raise NotImplementedError("exercise raft.5: who must lose what, before whom is told?")
