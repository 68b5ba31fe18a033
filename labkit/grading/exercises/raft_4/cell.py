# exercise: raft.4
def shortest_timeout(fsync, latency, beats):
    """Seconds: ten fsyncs, or `beats` × 3 round trips of `latency` seconds each way; the longer."""
    ### BEGIN SOLUTION
    return max(10 * fsync, beats * 3 * 2 * latency)
    ### END SOLUTION
    raise NotImplementedError("exercise raft.4: which time-out do disk and network allow?")
