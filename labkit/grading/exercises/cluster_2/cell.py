# exercise: cluster.2
def suspects(log, crash):
    """The places in `log`, sorted, of all events that happened before event number `crash`.

    An event is (rank, kind, message); kind is "send", "receive" or something else. A message may
    be lost: then it has no "receive". In the incident above the answer is [0, 1, 2, 4].
    """
    ### BEGIN SOLUTION
    found, waiting = set(), [crash]
    while waiting:
        b = waiting.pop()
        for a, (rank, kind, message) in enumerate(log):
            same_rank = rank == log[b][0] and a < b
            same_message = kind == "send" and log[b][1] == "receive" and message == log[b][2]
            if (same_rank or same_message) and a not in found:
                found.add(a)
                waiting.append(a)
    return sorted(found)
    ### END SOLUTION
    raise NotImplementedError("exercise cluster.2: start at the crash and follow causes backwards")
