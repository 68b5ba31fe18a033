# exercise: data_parallel.2
def into_buckets(sizes, capacity):
    """Lists of tensor numbers, each of at most `capacity` bytes, from the last tensor to the first.

    `sizes[i]` is the number of bytes of tensor i. A tensor that no longer fits opens a new bucket;
    one that is larger than `capacity` has a bucket of its own.
    """
    ### BEGIN SOLUTION
    buckets, room = [], 0
    for i in reversed(range(len(sizes))):
        if not buckets or sizes[i] > room:
            buckets.append([])
            room = capacity
        buckets[-1].append(i)
        room -= sizes[i]
    return buckets
    ### END SOLUTION
    raise NotImplementedError("exercise data_parallel.2: fill buckets from the last tensor on")
