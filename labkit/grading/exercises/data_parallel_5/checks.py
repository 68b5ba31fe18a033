"""data_parallel.5: an incident. A job of equal ranks is slow, and all of them say that they spend
their time in the all-reduce; the one that does not is the cause.

The log is drawn as synchronous training writes it: in each step everybody waits for the last one.
What leads astray is in it as well: clocks of several machines, a slow first step, noise.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from labkit.checks import Case
from labkit.grading.diagnosis import named
from labkit.grading.exercise import Property
from labkit.views.incident import incident

Entry = tuple[int, int, str, float, float]
CAUSES = ("slow data", "slow processor", "stood still")
STEPS = 12
USUAL = {"data": 0.02, "computing": 0.1}
"""Seconds."""
TRAVEL = 0.03
"""Seconds of an all-reduce for the last who comes to it."""
SLOW = {"slow data": ("data", 8.0), "slow processor": ("computing", 2.6)}


def spends(r: random.Random, what: str, step: int) -> float:
    return USUAL[what] * r.uniform(0.9, 1.15) * (3.0 if step == 0 else 1.0)  # caches are cold


def draw_incident(r: random.Random) -> tuple[list[Entry]]:
    ranks, cause = r.randrange(4, 9), r.choice(CAUSES)
    victim, begins = r.randrange(ranks), r.randrange(1, STEPS // 3)
    stands, pauses = r.randrange(1, STEPS), r.uniform(1.5, 3.0)
    clocks = [r.uniform(0, 100) for _ in range(ranks)]
    log: list[Entry] = []
    now = 0.0
    for step in range(STEPS):
        ready = []
        for rank in range(ranks):
            at = now
            for what in USUAL:
                seconds = spends(r, what, step)
                if rank == victim and cause in SLOW and SLOW[cause][0] == what and step >= begins:
                    seconds *= SLOW[cause][1]
                if (rank, step, cause, what) == (victim, stands, "stood still", "computing"):
                    seconds += pauses
                log.append((rank, step, what, clocks[rank] + at, clocks[rank] + at + seconds))
                at += seconds
            ready.append(at)
        now = max(ready) + TRAVEL
        for rank, at in enumerate(ready):
            log.append((rank, step, "all-reduce", clocks[rank] + at, clocks[rank] + now))
    return (sorted(log, key=lambda entry: entry[3]),)


def picture(cases: Sequence[Case]) -> Any:
    """The first wrong case, else the first. A student's copy does not have the whole answer."""
    case = next((c for c in cases if c.expected != c.got), cases[0])
    return incident(case.arguments[0], getattr(case.expected, "answer", None), case.got.answer)


half = partial(named, pair="a rank and a cause")
PROPERTIES = [
    Property("who it was", draw_incident, partial(half, place=0), cases=8, picture=picture),
    Property("and by what", draw_incident, partial(half, place=1), cases=12, picture=picture),
]
