# exercise: ckpt.4
def interval(write, mtbf):
    """(best interval, share of the time that is wasted there), to first order. Both arguments in
    seconds: what a write costs, and the mean time between failures."""
    ### BEGIN SOLUTION
    best = (2 * write * mtbf) ** 0.5
    return best, write / best + best / (2 * mtbf)
    ### END SOLUTION
    raise NotImplementedError("exercise ckpt.4: how often, and what does it cost?")
