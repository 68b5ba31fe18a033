# exercise: ckpt.7
def intervals(tiers, budget):
    """Seconds between two writes, for each of the `tiers`, fastest first. A tier is a dictionary: a
    write stalls training for "stall" seconds and costs "price" dollars; "mtbf" is the mean time, in
    seconds, between failures that no faster tier survives. `budget` is in dollars a day."""
    ### BEGIN SOLUTION
    found = []
    for tier in tiers:
        best = (2 * tier["stall"] * tier["mtbf"]) ** 0.5
        affordable = 86_400 * tier["price"] / budget
        found.append(max(best, affordable))
    return found
    ### END SOLUTION
    raise NotImplementedError("exercise ckpt.7: how often into each tier?")
