"""Random fault plans: everything at once, and the same again from the same seed.

What is drawn: deaths of ranks and of the witness, at a moment or between two instructions that
have a name; processes that stand still; slow ranks; links that lose, delay or cut messages, one way
or between the halves of the cluster. Links and speeds are healed after a while, the dead are the
launcher's business (`Cluster(max_restarts=…)`). (The idea of testing a system by breaking it at
random is Netflix's: A. Basiri et al., "Chaos Engineering", IEEE Software 33(3), 2016.)
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from labkit.faults import (
    At,
    Cut,
    Delay,
    Drop,
    Fault,
    FaultPlan,
    Heal,
    Kill,
    Partition,
    Pause,
    Slow,
)

POINTS = (
    *("batch", "forward", "backward", "all_reduce", "optimizer.step"),
    *("in_order.exchange", "in_order.all_gather", "catch_up"),
)
"""Where a rank may die in the middle of a training step, or of a recovery."""
KINDS = ("kill", "kill at a point", "pause", "slow", "delay", "drop", "cut", "partition")
FIRST = 0.2
"""Seconds of training before the first fault."""


def random_plan(
    seed: int, world_size: int, seconds: float, faults: int = 5, kinds: Sequence[str] = KINDS
) -> FaultPlan:
    """`faults` faults in the first `seconds` of a run, drawn from the kinds of `KINDS`.

    Raises ValueError for a kind that does not exist.
    """
    strange = sorted(set(kinds) - set(KINDS))
    if strange:
        raise ValueError(f"there is no kind of fault {strange[0]!r}: use some of {KINDS}")
    dice = random.Random(f"chaos {seed}")
    entries: list[At] = []
    for _ in range(faults):
        at = dice.uniform(FIRST, seconds)
        entries += _draw(dice, dice.choice(kinds), world_size, at)
    return FaultPlan(*entries)


def _draw(dice: random.Random, kind: str, world_size: int, at: float) -> list[At]:
    anyone = dice.randrange(world_size + 1)  # the witness as well
    one, other = dice.sample(range(world_size), 2) if world_size > 1 else (0, 0)
    if kind == "kill":
        return [At(Kill(anyone), seconds=at)]
    if kind == "kill at a point":
        return [At(Kill(one), point=dice.choice(POINTS), count=dice.randint(1, 80))]
    if kind == "pause":
        return [At(Pause(anyone, dice.uniform(0.02, 1.0)), seconds=at)]
    fault: Fault
    match kind:
        case "slow":
            fault = Slow(one, dice.uniform(1.5, 4.0))
        case "delay":
            fault = Delay(one, other, dice.uniform(0.01, 0.2))
        case "drop":
            fault = Drop(one, other, dice.uniform(0.05, 0.5))
        case "cut":
            fault = Cut(one, other)
        case _:
            ranks = dice.sample(range(world_size), world_size)
            half = dice.randint(1, max(1, world_size - 1))
            fault = Partition((tuple(ranks[:half]), tuple(ranks[half:])))
    return [At(fault, seconds=at), At(Heal(), seconds=at + dice.uniform(0.1, 1.0))]
