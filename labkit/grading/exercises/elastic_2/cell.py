# exercise: elastic.2
def judge(view, applied, message):
    """A rank in `view` has applied step `applied`; `message` is (its view, its step). Returns
    "apply", "ignore" (of the past), "regroup" (of a view that this rank does not know yet) or
    "catch up" (of this view, and this rank lacks steps before it)."""
    ### BEGIN SOLUTION
    its_view, step = message
    if its_view > view:
        return "regroup"
    if its_view < view or step <= applied:
        return "ignore"
    return "apply" if step == applied + 1 else "catch up"
    ### END SOLUTION
    raise NotImplementedError("exercise elastic.2: what do you do with it?")
