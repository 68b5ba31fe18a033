# exercise: hang.4
def order(rank, size):
    """Which of its two calls a rank makes first: f"send to {right}", f"receive from {left}"."""
    ### BEGIN SOLUTION
    calls = [f"send to {(rank + 1) % size}", f"receive from {(rank - 1) % size}"]
    return calls if rank % 2 == 0 else calls[::-1]
    ### END SOLUTION
    ### BEGIN BUG
    right, left = (rank + 1) % size, (rank - 1) % size
    return [f"send to {right}", f"receive from {left}"]
    ### END BUG
