"""Random fault plans: everything at once, and the same again from the same seed; and of a plan
that breaks something, the part that does.

What is drawn: deaths of ranks and of the witness, at a moment or between two instructions that
have a name; processes that stand still; slow ranks; links that lose, delay or cut messages, one way
or between the halves of the cluster. Links and speeds are healed after a while, the dead are the
launcher's business (`Cluster(max_restarts=…)`). (The idea of testing a system by breaking it at
random is Netflix's: A. Basiri et al., "Chaos Engineering", IEEE Software 33(3), 2016.)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

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
    seed: int,
    world_size: int,
    seconds: float,
    faults: int = 5,
    kinds: Sequence[str] = KINDS,
    points: Sequence[str] = POINTS,
) -> FaultPlan:
    """`faults` faults in the first `seconds` of a run, drawn from the kinds of `KINDS`; a rank that
    is killed at a point comes to one of `points`.

    Raises ValueError for a kind that does not exist.
    """
    strange = sorted(set(kinds) - set(KINDS))
    if strange:
        raise ValueError(f"there is no kind of fault {strange[0]!r}: use some of {KINDS}")
    dice = random.Random(f"chaos {seed}")
    entries: list[At] = []
    for _ in range(faults):
        at = round(dice.uniform(FIRST, seconds), 2)
        entries += _draw(dice, dice.choice(kinds), world_size, at, points)
    return FaultPlan(*entries)


def _draw(
    dice: random.Random, kind: str, world_size: int, at: float, points: Sequence[str]
) -> list[At]:
    anyone = dice.randrange(world_size + 1)  # the witness as well
    one, other = dice.sample(range(world_size), 2) if world_size > 1 else (0, 0)
    if kind == "kill":
        return [At(Kill(anyone), seconds=at)]
    if kind == "kill at a point":
        return [At(Kill(one), point=dice.choice(points), count=dice.randint(1, 80))]
    if kind == "pause":
        return [At(Pause(anyone, _between(dice, 0.02, 1.0)), seconds=at)]
    fault: Fault
    match kind:
        case "slow":
            fault = Slow(one, _between(dice, 1.5, 4.0))
        case "delay":
            fault = Delay(one, other, _between(dice, 0.01, 0.2))
        case "drop":
            fault = Drop(one, other, _between(dice, 0.05, 0.5))
        case "cut":
            fault = Cut(one, other)
        case _:
            ranks = dice.sample(range(world_size), world_size)
            half = dice.randint(1, max(1, world_size - 1))
            fault = Partition((tuple(ranks[:half]), tuple(ranks[half:])))
    return [At(fault, seconds=at), At(Heal(), seconds=round(at + dice.uniform(0.1, 1.0), 2))]


def _between(dice: random.Random, low: float, high: float) -> float:
    """With two digits behind the point: a plan is read by people, too."""
    return round(dice.uniform(low, high), 2)


def shrink(plan: FaultPlan, breaks: Callable[[FaultPlan], bool]) -> FaultPlan:
    """What is left of `plan` when nothing more can go and `breaks(plan)` still holds.

    Halves are left out first, then quarters, single faults last: each try is a run (A. Zeller and
    R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002).
    Raises ValueError for a plan that does not break anything.
    """
    if not breaks(plan):
        raise ValueError(f"nothing breaks under this plan, so there is nothing to find: {plan}")
    entries, size = plan.entries, max(1, len(plan.entries) // 2)
    while True:
        before, begin = len(entries), 0
        while begin < len(entries):
            fewer = entries[:begin] + entries[begin + size :]
            if breaks(FaultPlan(*fewer)):
                entries = fewer
            else:
                begin += size
        if size == 1 and len(entries) == before:
            return FaultPlan(*entries)
        size = max(1, size // 2)
