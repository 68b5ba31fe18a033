"""hb.3: gray failures. Beats go on, and the count in them says how far the work has come."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

STUCK = 0.5
"""Seconds without a change that are too long."""
Drawn = tuple[list[int], list[float], float]


def draw_behind(r: random.Random) -> Drawn:
    """One or more are a count behind the others; some of all have stood still for long."""
    n, at = r.randrange(3, 9), 2 * r.randrange(1, 30)
    counts = [at, at + 1, *(at + r.choice([0, 1, 1, 1]) for _ in range(n - 2))]
    r.shuffle(counts)
    return counts, [r.choice([0.1, 0.8, 1.5]) for _ in range(n)], STUCK


def draw_level(r: random.Random) -> Drawn:
    """Half the time all are equally far, and wait for what nobody here can know."""
    if r.random() < 0.5:
        return draw_behind(r)
    n, at = r.randrange(3, 9), r.randrange(1, 60)
    return [at] * n, [r.choice([0.1, 0.8, 1.5]) for _ in range(n)], STUCK


PROPERTIES = [
    Property("who is behind and stands still hangs", draw_behind, cases=40),
    Property("if all are equally far, nobody is behind", draw_level, cases=40),
]
