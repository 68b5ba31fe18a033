# exercise: hang.5
def diagnose(incident):
    """`incident` has, for each rank, a dictionary: "ended" (how its process did, or None), "line"
    (the line it is at, or None if none is to be had), "calls" (the last of its collectives, as
    lists [number, call, state], or None if it does not answer). Returns (cause, rank); the cause
    is "died", "stopped", "holds the lock", "did not come" or "another call"."""
    ### BEGIN SOLUTION
    from collections import Counter

    for rank, seen in incident.items():
        if seen["ended"]:
            return "died", rank
    for rank, seen in incident.items():
        if seen["calls"] is None:
            return ("holds the lock" if seen["line"] else "stopped"), rank
    made = {rank: {n: call for n, call, _ in seen["calls"]} for rank, seen in incident.items()}
    for number in sorted(set().union(*made.values())):
        calls = {rank: record.get(number) for rank, record in made.items()}
        usual = Counter(calls.values()).most_common(1)[0][0]
        for rank, call in calls.items():
            if call != usual:
                return ("did not come" if call is None else "another call"), rank
    return None
    ### END SOLUTION
    raise NotImplementedError("exercise hang.5: name the cause, and the rank that all wait for")
