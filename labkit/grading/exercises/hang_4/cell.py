# exercise: hang.4
def order(rank, size):
    """Which of its two calls a rank makes first: f"send to {right}", f"receive from {left}"."""
    right, left = (rank + 1) % size, (rank - 1) % size
    calls = [f"send to {right}", f"receive from {left}"]
    return calls if rank % 2 == 0 else calls[::-1]
