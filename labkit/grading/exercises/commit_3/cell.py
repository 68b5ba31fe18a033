# exercise: commit.3
from labkit.faults import At, CrashAt, Cut, Restart


def break_it(bug, begin, latency):
    """The faults that make two participants end one transaction differently, as in
    [At(Cut(0, 2), seconds=2.5)].

    Rank 0 coordinates, and asks ranks 1, 2 and 3 at `begin` seconds. Every message takes `latency`
    seconds and no work takes time. `bug` is one of these:

    "decides alone": half a second after its yes a participant aborts. One fault is enough.
    "tells first": the coordinator tells the commit, and writes it down afterwards. When it decides
    it makes a note, cancels two timers, tells rank 1, rank 2, rank 3, sets a timer, and writes: so
    many effects are in that handler, and fewer in those before. It takes two faults.
    """
    ### BEGIN SOLUTION
    asked = begin + latency  # the votes are on their way, and nothing has been decided
    if bug == "decides alone":
        return [At(Cut(0, 2), seconds=asked)]
    return [At(CrashAt(0, effects=4), seconds=asked), At(Restart(0), seconds=asked + 2 * latency)]
    ### END SOLUTION
    raise NotImplementedError("exercise commit.3: when must what fail?")
