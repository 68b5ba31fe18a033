# exercise: elastic.3
def roll_forward(steps, minimum):
    """`steps` has, for each member, the steps that it has applied (0: it is new). Returns None if
    there are fewer members than `minimum`; else (the member whose state goes to the others: the
    lowest of the most advanced; the members that need it, in order; the step to do next)."""
    ### BEGIN SOLUTION
    if len(steps) < minimum:
        return None
    furthest = max(steps.values())
    source = min(rank for rank, step in steps.items() if step == furthest)
    return source, sorted(rank for rank in steps if steps[rank] < furthest), furthest + 1
    ### END SOLUTION
    raise NotImplementedError("exercise elastic.3: from whom, to whom, and which step is next?")
