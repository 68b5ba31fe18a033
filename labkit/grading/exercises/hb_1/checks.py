"""hb.1: how often a fixed time-out is wrong, when beats are lost and none is late."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[float, float, float]


def drawn(r: random.Random, in_a_row: int) -> Drawn:
    """A time-out that so many lost beats outlast."""
    interval = r.choice([0.02, 0.05, 0.1, 1.0])
    timeout = (in_a_row + r.uniform(0.2, 0.8)) * interval
    return timeout, interval, r.choice([0.01, 0.1, 0.3])


def draw_one(r: random.Random) -> Drawn:
    return drawn(r, 1)


def draw_several(r: random.Random) -> Drawn:
    return drawn(r, r.randrange(2, 6))


PROPERTIES = [
    Property("one lost beat is enough", draw_one),
    Property("several beats in a row must be lost", draw_several),
]
