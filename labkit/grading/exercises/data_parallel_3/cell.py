# exercise: data_parallel.3
def bucket_bytes(ready, ranks, alpha, beta, most):
    """A capacity, in bytes, with which the step is through at most 5 % later than with the best.

    `ready` are (seconds, bytes) of the gradients, in the order in which they arrive. They go into
    buckets as in data_parallel.2; a bucket is full when its last gradient has arrived. Buckets
    travel one at a time, in their order; one of S bytes takes a ring of so many ranks
    2 (ranks − 1) (alpha + beta S / ranks) seconds. The capacity is at most `most`.
    """

    ### BEGIN SOLUTION
    def through(capacity):
        buckets, room = [], 0
        for moment, size in ready:
            if not buckets or size > room:
                buckets.append([moment, 0])
                room = capacity
            buckets[-1] = [moment, buckets[-1][1] + size]
            room -= size
        free = 0.0
        for full, size in buckets:
            free = max(free, full) + 2 * (ranks - 1) * (alpha + beta * size / ranks)
        return free

    sizes = [most]
    while sizes[-1] > min(size for _, size in ready):
        sizes.append(int(sizes[-1] / 1.1))
    return min(sizes, key=through)
    ### END SOLUTION
    raise NotImplementedError("exercise data_parallel.3: which size, for this wire?")
