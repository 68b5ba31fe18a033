# exercise: raft.7
def commit_index(match, log, term, commit):
    """The leader of `term` has `log`; `match` has, for each node and itself, the last index that is
    known to be on its disk. `commit` is the commit index so far. Returns the new one."""
    ### BEGIN SOLUTION
    index = sorted(match)[(len(match) - 1) // 2]
    return index if index > commit and log[index - 1] == term else commit
    ### END SOLUTION
    raise NotImplementedError("exercise raft.7: up to where is it committed?")
