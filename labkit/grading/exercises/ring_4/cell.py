# exercise: ring.4
def steps_ended(ranks, stopped, step):
    """How many of the 2(n − 1) steps each rank ends, as a list, rank by rank.

    Rank `stopped` ends `step` steps and then stands still for ever, before it sends again. What it
    sent before arrives. In a step everybody sends to the right, then waits for its left neighbour.
    """
    ### BEGIN SOLUTION
    ends = []
    for rank in range(ranks):
        places = (rank - stopped) % ranks
        ends.append(step if places == 0 else min(2 * (ranks - 1), step + places - 1))
    return ends
    ### END SOLUTION
    raise NotImplementedError("exercise ring.4: who waits for whom, and since when?")
