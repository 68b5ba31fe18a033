# exercise: raft.3
def grants(term, voted_for, candidate, candidate_term):
    """A node in `term`, which has voted for `voted_for` (None: for nobody) in it, is asked for its
    vote. Returns (granted, term, voted_for) as they are afterwards."""
    ### BEGIN SOLUTION
    if candidate_term > term:
        term, voted_for = candidate_term, None
    granted = candidate_term == term and voted_for in (None, candidate)
    return granted, term, candidate if granted else voted_for
    ### END SOLUTION
    raise NotImplementedError("exercise raft.3: is the vote given?")
