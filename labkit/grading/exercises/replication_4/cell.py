# exercise: replication.4
def choose_by_krum(gradients, f):
    """The index of Krum's choice: the gradient whose squared distances to its n - f - 2 nearest
    others have the smallest sum. `gradients` is a list of n lists of numbers."""

    ### BEGIN SOLUTION
    def score(i):
        others = [g for j, g in enumerate(gradients) if j != i]
        pairs = [zip(gradients[i], other, strict=True) for other in others]
        squares = sorted(sum((x - y) ** 2 for x, y in pair) for pair in pairs)
        return sum(squares[: len(gradients) - f - 2])

    return min(range(len(gradients)), key=score)
    ### END SOLUTION
    raise NotImplementedError("exercise replication.4: who lies closest to its neighbours?")
