# exercise: data_parallel.5
def diagnose(log):
    """(rank, cause): who held everybody up, and by what.

    `log` holds (rank, step, what, begin, end): in each step a rank spends time on "data", then on
    "computing", then in the "all-reduce". Times are seconds on the clock of its own machine. The
    cause is "slow data" or "slow processor", in most of the steps, or "stood still", in one.
    """
    ### BEGIN SOLUTION
    from statistics import median

    spent = {}
    for rank, _, what, begin, end in log:
        spent.setdefault((rank, what), []).append(end - begin)
    ranks = sorted({rank for rank, *_ in log})
    awaited = min(ranks, key=lambda rank: sum(spent[rank, "all-reduce"]))
    for what, cause in (("data", "slow data"), ("computing", "slow processor")):
        usual = median(seconds for rank in ranks for seconds in spent[rank, what])
        if median(spent[awaited, what]) > 2 * usual:
            return awaited, cause
    return awaited, "stood still"
    ### END SOLUTION
    raise NotImplementedError("exercise data_parallel.5: for whom did the others wait?")
