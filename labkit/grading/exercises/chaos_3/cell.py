# exercise: chaos.3
def without_majority(voters, changes, end):
    """Seconds, from 0 to `end`, in which no majority of the `voters` was alive: then nobody can
    agree on a view. At first all are; `changes` are pairs (second, -1 or +1) in order of time."""
    ### BEGIN SOLUTION
    total, alive, now = 0.0, voters, 0.0
    for second, change in [*changes, (end, 0)]:
        if 2 * alive <= voters:
            total += second - now
        alive, now = alive + change, second
    return total
    ### END SOLUTION
    raise NotImplementedError("exercise chaos.3: how long was there no majority?")
