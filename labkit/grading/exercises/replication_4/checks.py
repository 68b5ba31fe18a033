"""replication.4: Krum (P. Blanchard et al., NeurIPS 2017)."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Vectors = list[list[float]]


def drawn(r: random.Random, f: int) -> tuple[Vectors, int]:
    """Honest ones around one point and f liars, who agree, on another."""
    size = r.randrange(2, 4)
    honest = [[r.gauss(1, 0.6) for _ in range(size)] for _ in range(f + 3 + r.randrange(3))]
    far = [r.choice([-1, 1]) * r.uniform(2, 4) for _ in range(size)]
    liars = [[x + r.gauss(0, 0.05) for x in far] for _ in range(f)]
    every = [[round(x, 2) for x in g] for g in [*honest, *liars]]
    r.shuffle(every)
    return every, f


def draw_one(r: random.Random) -> tuple[Vectors, int]:
    return drawn(r, 1)


def draw_two(r: random.Random) -> tuple[Vectors, int]:
    return drawn(r, 2)


PROPERTIES = [
    Property("the gradient closest to its neighbours", draw_one, cases=30),
    Property("two liars vouch for each other in vain", draw_two, cases=30),
]
