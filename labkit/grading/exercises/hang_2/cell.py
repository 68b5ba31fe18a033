# exercise: hang.2
def next_scale(scale, good, sums, interval):
    """`good` steps in a row were good; `sums` are the summed gradients of this one. Returns the
    next (scale, good): halved when something is not finite, doubled after `interval` good steps;
    after either the count begins at 0 again."""
    ### BEGIN SOLUTION
    import math

    if not all(math.isfinite(x) for x in sums):
        return scale / 2, 0
    return (scale * 2, 0) if good + 1 == interval else (scale, good + 1)
    ### END SOLUTION
    raise NotImplementedError("exercise hang.2: the scale of the next step")
