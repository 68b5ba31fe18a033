# exercise: ckpt.6
def holder(rank, ranks, per_host):
    """The rank with the same place on the next host; after the last host comes the first."""
    ### BEGIN SOLUTION
    return (rank + per_host) % ranks
    ### END SOLUTION
    raise NotImplementedError("exercise ckpt.6: who keeps this rank's copy?")
