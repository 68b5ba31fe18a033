# exercise: replication.2
def linearizable(calls):
    """Whether an order of the calls explains all results and keeps real time.

    A call is (kind, value, begin, end); kind is "write" or "read"; a read returned `value`. At
    first the register holds None. A call that ended before another began must come first.
    """
    ### BEGIN SOLUTION
    from itertools import permutations

    def explained(order):
        value = None
        for place, (kind, mine, begin, _) in enumerate(order):
            if any(later[3] < begin for later in order[place + 1 :]):
                return False
            if kind == "write":
                value = mine
            elif mine != value:
                return False
        return True

    return any(explained(order) for order in permutations(calls))
    ### END SOLUTION
    raise NotImplementedError("exercise replication.2: is there an order that explains it?")
