# exercise: hb.5
def settings(slowest, loss, beats, detection):
    """(interval, timeout) in seconds, of beats and of a fixed time-out, for a network in which a
    beat takes up to `slowest` seconds and is lost with probability `loss`.

    Send no more than `beats` a second, suspect a dead node within `detection` seconds of its death,
    and be wrong as seldom as that allows.
    """
    ### BEGIN SOLUTION
    return 1 / beats, detection - slowest
    ### END SOLUTION
    raise NotImplementedError("exercise hb.5: how often to beat, and how long to wait?")
