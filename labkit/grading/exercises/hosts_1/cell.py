# exercise: hosts.1
def place(nodes, tasks, lost):
    """{rank: node} after the nodes of the list `lost` are gone, one after the other.

    `nodes` are names in Slurm's order, and `tasks` says how many ranks each holds at first, as
    SLURM_TASKS_PER_NODE does: "2(x3),1" is 2, 2, 2, 1. Ranks fill nodes in blocks: 0 and 1 are on
    the first. The ranks of a lost node go, lowest first, each to the node that then holds fewest,
    the first of them in Slurm's order. Nobody else moves; some node is always left.
    """
    ### BEGIN SOLUTION
    counts = []
    for word in tasks.split(","):
        count, _, times = word.rstrip(")").partition("(x")
        counts += [int(count)] * int(times or 1)
    where = [node for node, count in zip(nodes, counts, strict=False) for _ in range(count)]
    left = list(nodes)
    for gone in lost:
        left.remove(gone)
        for rank, node in enumerate(where):
            if node == gone:
                where[rank] = min(left, key=where.count)
    return dict(enumerate(where))
    ### END SOLUTION
    raise NotImplementedError("exercise hosts.1: who starts where, now that nodes are lost?")
