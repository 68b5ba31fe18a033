# exercise: ring.1
def my_reduce_scatter(link, chunks):
    """Afterwards chunks[link.rank] is the sum of that chunk over all ranks.

    In each of n − 1 steps, send one chunk to the right, take one from the left, and add it in.
    Chunks may differ in length by one element; the others may hold anything afterwards.
    """
    ### BEGIN SOLUTION
    for step in range(link.size - 1):
        give = chunks[(link.rank - step - 1) % link.size]
        take = chunks[(link.rank - step - 2) % link.size]
        incoming = take.clone()
        link.transfer(sends=[(give, link.right)], receives=[(incoming, link.left)]).wait()
        take += incoming
    return
    ### END SOLUTION
    raise NotImplementedError("exercise ring.1: pass chunks to the right, adding as they come in")
