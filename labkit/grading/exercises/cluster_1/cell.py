# exercise: cluster.1
def pass_token(worker, laps):
    """Returns the token, a list of ranks, as this rank last held it.

    Uses worker.rank, worker.world_size, worker.send(to, value), worker.receive(source).
    With 3 ranks and 2 laps rank 0 returns [0, 1, 2, 0, 1, 2], rank 1 returns [0, 1, 2, 0, 1].
    """
    ### BEGIN SOLUTION
    left, right = (worker.rank - 1) % worker.world_size, (worker.rank + 1) % worker.world_size
    token = []
    for lap in range(laps):
        if worker.rank > 0 or lap > 0:
            token = worker.receive(left)
        token = [*token, worker.rank]
        worker.send(right, token)
    return worker.receive(left) if worker.rank == 0 else token
    ### END SOLUTION
    raise NotImplementedError("exercise cluster.1: receive from the left, add, send to the right")
