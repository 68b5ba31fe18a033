"""raft.4: which election time-out a disk and a network allow."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[float, float, int]


def draw_disk(r: random.Random) -> Drawn:
    return r.choice([0.01, 0.03, 0.08]), r.choice([0.0002, 0.0005, 0.001]), r.randrange(1, 5)


def draw_network(r: random.Random) -> Drawn:
    return r.choice([0.0002, 0.0005, 0.002]), r.choice([0.01, 0.02, 0.04]), r.randrange(1, 5)


PROPERTIES = [
    Property("with a slow disk", draw_disk),
    Property("with a slow network", draw_network),
]
