# exercise: why.3
from math import comb


def at_least(needed, machines, probability):
    """The chance that at least `needed` of `machines` work, each with that probability."""
    chances = range(needed, machines + 1)
    return sum(
        comb(machines, k) * probability**k * (1 - probability) ** (machines - k) for k in chances
    )


def voters_needed(works, wanted):
    """The smallest number of voters whose majority works with probability `wanted` or more.

    Each voter works with probability `works`. Majority: more than half of all voters.
    """
    ### BEGIN SOLUTION
    voters = 1
    while at_least(voters // 2 + 1, voters, works) < wanted:
        voters += 1
    return voters
    ### END SOLUTION
    raise NotImplementedError("exercise why.3: the smallest number of voters")
