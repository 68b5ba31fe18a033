# exercise: hosts.2
def first(mine, theirs, questions):
    """Which of two events came first: "mine", "theirs", or "nobody knows".

    `mine` is when the one happened, in seconds by this host's clock, and `theirs` when the other
    did, by its own host's clock. Both clocks go alike, and are any time apart. `questions` is a
    list of (asked, there, answered): when this host asked what time it is there, what the answer
    was, and when it came; `asked` and `answered` by this host's clock.
    """
    ### BEGIN SOLUTION
    low = max(there - answered for _, there, answered in questions)
    high = min(there - asked for asked, there, _ in questions)  # it is low to high ahead
    if theirs - mine < low:
        return "theirs"
    if theirs - mine > high:
        return "mine"
    return "nobody knows"
    ### END SOLUTION
    raise NotImplementedError("exercise hosts.2: between which bounds is the other clock ahead?")
