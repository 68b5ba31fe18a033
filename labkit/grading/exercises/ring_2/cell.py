# exercise: ring.2
def my_all_gather(link, chunks):
    """Afterwards all chunks are complete on all ranks, after n − 1 steps to the right."""
    ### BEGIN SOLUTION
    for step in range(link.size - 1):
        give = chunks[(link.rank - step) % link.size]
        take = chunks[(link.rank - step - 1) % link.size]
        link.transfer(sends=[(give, link.right)], receives=[(take, link.left)]).wait()
    return
    ### END SOLUTION
    raise NotImplementedError("exercise ring.2: pass the complete chunks on")
