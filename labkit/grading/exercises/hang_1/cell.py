# exercise: hang.1
def first_difference(records):
    """`records` has for each rank the list of its collectives, as text, from number 1 on. Returns
    the first number at which a rank differs from the majority, and the sorted list of the ranks
    that do; one that has made no such call differs too. None if there is none."""
    ### BEGIN SOLUTION
    from collections import Counter

    for i in range(max(len(record) for record in records.values())):
        calls = {rank: r[i] if i < len(r) else None for rank, r in records.items()}
        usual = Counter(calls.values()).most_common(1)[0][0]
        odd = sorted(rank for rank, call in calls.items() if call != usual)
        if odd:
            return i + 1, odd
    return None
    ### END SOLUTION
    raise NotImplementedError("exercise hang.1: where do the records part?")
