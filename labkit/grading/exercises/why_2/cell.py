# exercise: why.2
def kept_hours(failures, interval, restart, end):
    """Hours of work that are in a checkpoint at hour `end`.

    `failures` are the hours at which the job fails, in order, all before `end`.
    """
    ### BEGIN SOLUTION
    kept, back = 0.0, 0.0
    for stop in [*failures, end]:
        running = max(0.0, stop - back)
        kept += int(running / interval) * interval
        back = stop + restart
    return kept
    ### END SOLUTION
    raise NotImplementedError("exercise why.2: hours of work that no failure can take away")
