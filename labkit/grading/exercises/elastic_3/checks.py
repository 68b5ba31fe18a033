"""elastic.3: survivors of a broken collective differ by at most one step, newcomers by all."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[dict[int, int], int]


def survivors(r: random.Random, least: int) -> dict[int, int]:
    """At least so many members, in any order; some have applied one step more."""
    members = r.sample(range(8), r.randrange(least, 6))
    step = r.randrange(10, 90)
    return {rank: step + (r.random() < 0.4) for rank in members}


def draw_survivors(r: random.Random) -> Drawn:
    return survivors(r, 2), r.choice([1, 2])


def draw_newcomer(r: random.Random) -> Drawn:
    steps = survivors(r, 3)
    steps[min(steps)] = 0
    return steps, r.choice([1, 2])


def draw_few(r: random.Random) -> Drawn:
    steps = survivors(r, 2)
    return steps, r.choice([2, 3, len(steps), len(steps) + 1])


PROPERTIES = [
    Property("the state of the most advanced goes to all others", draw_survivors, cases=40),
    Property("a newcomer with the lowest rank is no source", draw_newcomer, cases=30),
    Property("with fewer than the minimum nobody goes on", draw_few, cases=30),
]
