# exercise: elastic.4
def weight_at_the_end(steps, deaths, fence):
    """What `careful` returns at the survivors, after so many steps. `deaths` are pairs (step,
    moment): "computed", before the sum; "applied", before the barrier; "met", behind the barrier.
    Each comes once, and there are always survivors. `fence`: does a rank look whether it has
    applied the step?"""
    ### BEGIN SOLUTION
    if fence:
        return steps
    twice = [step for step, moment in deaths if moment == "applied"]
    return steps + len(twice)
    ### END SOLUTION
    raise NotImplementedError("exercise elastic.4: what will the weight be?")
