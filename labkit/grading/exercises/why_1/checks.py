"""why.1: the MTBF of a job on many nodes, at published rates of failure."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

RATES = (1e-3, 2.34e-3, 3.79e-3, 6.5e-3)
"""Failures of a node in a day; the second and the last are those of Meta's research clusters."""


def draw_fleet(r: random.Random) -> tuple[int, float]:
    return 8 * 2 ** r.randrange(0, 12), r.choice(RATES)


PROPERTIES = [Property("hours between two failures of the job", draw_fleet, cases=6)]
