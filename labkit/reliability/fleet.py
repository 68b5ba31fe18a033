"""A job and its machines as discrete events: what a failure stops, and for how long.

`goodput.py` plays the game that the formulas know: every failure stops the whole job. Here the job
may consist of several groups, each with a copy of the state, so that a failure takes out one group
and the others go on; checkpoints may become durable in the background; a failure has to be noticed;
spares may be warm or have to boot, and may run out. With one group it is the old game: a failure
takes everybody back to the last durable checkpoint.

This file says what there is; `life.py` plays it. All times are in one unit, any unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

SPENT = ("useful", "writing", "lost", "noticing", "restarting", "waiting")
"""What time goes into: steps that count, checkpoints that stop the training, work done again,
a failure that nobody has noticed, regrouping and restarting, a machine that is not there."""


@dataclass(frozen=True)
class Fleet:
    """A job of `groups` equal groups, and what its failures cost. All times in one unit.

    A failure takes out one group. While at least `least` groups are left they notice it, regroup
    and go on with the step that it broke off; the group comes back when it has a machine, has
    restarted and has joined. When no group is left, the last durable checkpoint is all there is.
    """

    groups: int = 1
    least: int = 1
    """fewer groups than this wait for others"""
    interval: float = math.inf
    """useful work between two checkpoints"""
    write: float = 0.0
    """how long a checkpoint stops the training"""
    flush: float = 0.0
    """how long after that it becomes durable, in the background"""
    detection: float = 0.0
    """from a failure until it is known"""
    regroup: float = 0.0
    """how long the survivors of a failure then stand still"""
    restart: float = 0.0
    """of a lost group, from having its machines to taking part"""
    join: float = 0.0
    """how long all stand still when a group comes back"""
    step: float = 0.0
    """a step is done as a whole or not at all; 0: no matter"""
    finishes_step: bool = False
    """a failure is noticed at the end of the step that it spoils, not at once"""
    hot: int | None = None
    """spares that stand by, warm; None: there is always one"""
    cold: int = 0
    """further spares, that have to boot"""
    boot: float = 0.0
    repair: float = 0.0
    """until a failed machine stands by again"""

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.groups:
            raise ValueError(f"of {self.groups} groups, least must be 1 to {self.groups}")
        if not self.interval > max(self.flush, 0):
            raise ValueError("an interval must be longer than the flush: saves would pile up")


@dataclass(frozen=True)
class Failures:
    """When machines fail: `gap` draws the time to the next failure.

    Failures that follow a schedule are aimed: they strike a group that is there. Others strike any
    place of the job, and nothing where nobody is. `while_up`: the gap counts from the moment when
    the job is back from the last one.
    """

    gap: Callable[[np.random.Generator], float]
    aimed: bool = True
    while_up: bool = False


def poisson(mtbf: float) -> Failures:
    """Without memory; `mtbf` is that of the whole job. A group that is away cannot fail."""
    return Failures(lambda random: random.exponential(mtbf), aimed=False)


def every(seconds: float, while_up: bool = False) -> Failures:
    """As a chaos test kills: one after the other, on the clock."""
    return Failures(lambda _: seconds, while_up=while_up)


def between(low: float, high: float) -> Failures:
    """Gaps drawn evenly from `low` to `high`."""
    return Failures(lambda random: random.uniform(low, high))


@dataclass(frozen=True)
class Course:
    """How a job fared: its time in shares that sum to 1, and what came of it.

    `progress` is the work of the useful time, where one group of G does 1/G of it: 1 would be the
    job without failures and checkpoints. `present` is the mean number of groups at work.
    """

    useful: float
    writing: float
    lost: float
    noticing: float
    restarting: float
    waiting: float
    progress: float
    present: float
    failures: float
    stretches: tuple[tuple[float, float, str, int], ...] = field(default=(), repr=False)
    """begin, end, what the time went into, groups at work; lost work is in its "useful" still. Not
    shown: there are thousands"""
