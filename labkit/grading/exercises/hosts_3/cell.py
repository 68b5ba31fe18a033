# exercise: hosts.3
def diagnose(log, hosts, ahead):
    """(cause, host) of an incident: what went wrong first, and on which host.

    `log` holds (rank, time, what, peer), from the disks of all hosts: at `time`, by the clock of
    its host, `rank` writes down "connection closed" or "silence", both of its neighbour `peer` in
    the ring, or "told to end", by the scheduler, with None for the peer. `hosts` maps a rank to
    its host, and `ahead` a host to the seconds by which its clock is ahead. There are three hosts
    or more. The cause is "process died", "host lost", "cut off" or "preempted" (told to end, while
    others were not).
    """
    ### BEGIN SOLUTION
    from collections import Counter

    rank, _, what, peer = min(log, key=lambda entry: entry[1] - ahead[hosts[entry[0]]])
    if what == "told to end":
        return "preempted", hosts[rank]
    if what == "connection closed":
        return "process died", hosts[peer]
    silences = [(hosts[a], hosts[b]) for a, _, said, b in log if said == "silence"]
    named = Counter(host for pair in silences for host in pair)
    victim = named.most_common(1)[0][0]  # in each pair, and the others are in some
    lives_on = any(here == victim for here, _ in silences)
    return ("cut off" if lives_on else "host lost"), victim
    ### END SOLUTION
    raise NotImplementedError("exercise hosts.3: what came first, and to whom?")
