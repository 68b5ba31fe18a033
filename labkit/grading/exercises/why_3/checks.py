"""why.3: a majority that works often enough."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property


def draw_good(r: random.Random) -> tuple[float, float]:
    return r.choice([0.95, 0.98, 0.99]), r.choice([0.999, 0.9999, 0.99999, 0.999999])


def draw_bad(r: random.Random) -> tuple[float, float]:
    return r.choice([0.7, 0.75, 0.8, 0.85, 0.9]), r.choice([0.9, 0.95, 0.99, 0.999])


PROPERTIES = [
    Property("voters that seldom fail", draw_good, cases=6),
    Property("voters that often fail", draw_bad, cases=6),
]
