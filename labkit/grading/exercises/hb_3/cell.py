# exercise: hb.3
def hanging(counts, still, stuck):
    """The ranks to blame, in order: `counts` has the count of each, `still` for how many seconds it
    has not changed. Blame none for less than `stuck` seconds, and none that waits for another."""
    ### BEGIN SOLUTION
    furthest = max(counts)
    return [rank for rank, count in enumerate(counts) if still[rank] > stuck and count < furthest]
    ### END SOLUTION
    raise NotImplementedError("exercise hb.3: who hangs, and who only waits?")
