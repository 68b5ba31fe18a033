"""hang.2: dynamic loss scaling (P. Micikevicius et al., ICLR 2018, §3.2), as GradScaler does it."""

from __future__ import annotations

import math
import random

from labkit.grading.exercise import Property

Drawn = tuple[float, int, list[float], int]


def draw_good(r: random.Random) -> Drawn:
    """A step at which nothing overflows, often the one that completes the row."""
    interval = r.choice([3, 10, 2000])
    good = r.choice([0, 1, interval - 2, interval - 1])
    return 2.0 ** r.randrange(1, 30), good, [r.uniform(-9, 9) for _ in range(4)], interval


def draw_overflow(r: random.Random) -> Drawn:
    """One of the sums is no number, and now and then all are."""
    scale, good, sums, interval = draw_good(r)
    if r.random() < 0.8:
        sums[r.randrange(4)] = r.choice([math.nan, math.inf, -math.inf])
    return scale, good, sums, interval


PROPERTIES = [
    Property("halved when a sum is not finite, and the count begins anew", draw_overflow, cases=40),
    Property("doubled after so many good steps in a row", draw_good, cases=40),
]
