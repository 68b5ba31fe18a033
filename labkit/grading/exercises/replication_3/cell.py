# exercise: replication.3
def compare(a, b):
    """Did change a happen "before" b, "after" it, are they "equal", or "concurrent"?

    A vector clock is a dict: how many changes of each node were known. A node that is missing: 0.
    """
    ### BEGIN SOLUTION
    ahead = any(count > b.get(node, 0) for node, count in a.items())
    behind = any(count > a.get(node, 0) for node, count in b.items())
    return ("concurrent" if behind else "after") if ahead else ("before" if behind else "equal")
    ### END SOLUTION
    raise NotImplementedError("exercise replication.3: which came first, if either did?")
