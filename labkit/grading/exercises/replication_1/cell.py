# exercise: replication.1
def choose(n, dead_readers, dead_writers):
    """The smallest R with its smallest W, as (R, W), such that a read meets the last acknowledged
    write; None if there is none. Of n copies, `dead_readers` may be dead and reads must go on;
    `dead_writers` may be dead and writes must go on."""
    ### BEGIN SOLUTION
    reads, writes = dead_writers + 1, n - dead_writers
    return (reads, writes) if reads <= n - dead_readers else None
    ### END SOLUTION
    raise NotImplementedError("exercise replication.1: how many to read, how many to write")
