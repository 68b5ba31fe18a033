# exercise: chaos.2
def useful_share(attempts, begin, end):
    """The share of the time from `begin` to `end` (seconds) in steps that count. `attempts` are
    (step, begin, end) one after the other; a step that was lost and done again counts once, with
    the attempt that was kept."""
    ### BEGIN SOLUTION
    kept = {step: stop - start for step, start, stop in attempts}  # the last of each
    return sum(kept.values()) / (end - begin)
    ### END SOLUTION
    raise NotImplementedError("exercise chaos.2: which attempts count?")
