# exercise: ckpt.3
def to_delete(checkpoints, keep):
    """The steps to delete, oldest first, so that the newest `keep` *good* ones stay.
    `checkpoints` are pairs (step, good), oldest first. A damaged one goes as soon as a newer one
    is good, not before: it may only be incomplete."""
    ### BEGIN SOLUTION
    good = [step for step, whole in checkpoints if whole]
    kept = good[-keep:]
    newest = max(good, default=-1)
    return [step for step, _ in checkpoints if step not in kept and step < newest]
    ### END SOLUTION
    raise NotImplementedError("exercise ckpt.3: what may go?")
