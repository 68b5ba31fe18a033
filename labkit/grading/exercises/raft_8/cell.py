# exercise: raft.8
def append(log, prev, prev_term, entries):
    """A follower with `log` gets the leader's `entries`, which follow index `prev` (0: they are the
    first) of term `prev_term`. Returns its log afterwards, or None if it refuses."""
    ### BEGIN SOLUTION
    if prev > len(log) or (prev > 0 and log[prev - 1] != prev_term):
        return None
    for at, entry in enumerate(entries, prev):
        if at >= len(log) or log[at] != entry:
            return log[:at] + entries[at - prev :]
    return log
    ### END SOLUTION
    raise NotImplementedError("exercise raft.8: compare, cut, append")
