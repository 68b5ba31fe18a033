# exercise: hang.3
def stragglers(times, factor, score):
    """`times` has each rank's computing time in seconds. Returns the ranks above `factor` times
    the median of the *others*, and above it by `score` robust deviations of the others (1.4826
    times the median of their absolute distances from it)."""
    ### BEGIN SOLUTION
    from statistics import median

    found = []
    for rank, own in enumerate(times):
        others = times[:rank] + times[rank + 1 :]
        middle = median(others)
        deviation = 1.4826 * median(abs(x - middle) for x in others)
        if own > factor * middle and own > middle + score * deviation:
            found.append(rank)
    return found
    ### END SOLUTION
    raise NotImplementedError("exercise hang.3: who is slow, measured against the others?")
