# exercise: commit.2
def terminate(states):
    """What each of the others says of itself: "working" (it has not voted, and will not vote yes
    any more, now that you have asked), "in doubt", "committed", "aborted"; or it is "silent".
    Returns what you do: "commit", "abort" or "wait"."""
    ### BEGIN SOLUTION
    if "committed" in states:
        return "commit"
    return "abort" if {"aborted", "working"} & set(states) else "wait"
    ### END SOLUTION
    raise NotImplementedError("exercise commit.2: commit, abort, or wait?")
