# exercise: hb.1
def mistakes_per_hour(timeout, interval, loss):
    """Beats leave every `interval` seconds, each is lost with probability `loss`, and none is late.
    How many silences an hour are longer than `timeout`? A silence begins with a beat that has come.
    (timeout is no multiple of interval.)"""
    ### BEGIN SOLUTION
    in_a_row = int(timeout / interval)
    return 3600 / interval * (1 - loss) * loss**in_a_row
    ### END SOLUTION
    raise NotImplementedError("exercise hb.1: how often are so many beats lost in a row?")
