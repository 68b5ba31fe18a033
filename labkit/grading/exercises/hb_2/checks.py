"""hb.2: φ of a silence. Bugs: d05, a logarithm of 0, which raises in Python."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[float, float, float]


def drawn(r: random.Random, z: float) -> Drawn:
    """A silence z deviations longer than the mean."""
    mean, deviation = r.choice([0.05, 0.2, 1.0]), r.choice([0.01, 0.02, 0.1])
    return mean + deviation * z, mean, deviation


def draw_near(r: random.Random) -> Drawn:
    return drawn(r, r.choice([-1, 0, 0.5, 2, 4, 8]))


def draw_far(r: random.Random) -> Drawn:
    return drawn(r, r.choice([25, 60, 1e4]))


PROPERTIES = [
    Property("φ of any silence near the mean", draw_near, cases=30, tolerance=1e-4),
    Property("φ beyond the reach of floating point", draw_far, cases=12, tolerance=1e-4),
]
