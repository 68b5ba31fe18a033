# exercise: commit.1
def decide(participants, votes, late):
    """`votes` are pairs (rank, yes) as they came in; `late` says that the deadline has passed.
    Returns "commit", "abort" or "wait"."""
    ### BEGIN SOLUTION
    if any(not yes for rank, yes in votes if rank in participants):
        return "abort"
    if {rank for rank, yes in votes if yes} >= set(participants):
        return "commit"
    return "abort" if late else "wait"
    ### END SOLUTION
    raise NotImplementedError("exercise commit.1: what does the coordinator decide?")
