"""elastic.2: fences. A view number keeps out what others have summed, a step number what came."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[int, int, tuple[int, int]]


def drawn(r: random.Random, views: list[int]) -> Drawn:
    view, applied = r.randrange(2, 5), r.randrange(3, 30)
    return view, applied, (view + r.choice(views), applied + r.choice([-2, -1, 0, 1, 1, 2, 3]))


def draw_same(r: random.Random) -> Drawn:
    return drawn(r, [0])


def draw_other(r: random.Random) -> Drawn:
    return drawn(r, [-2, -1, 1, 2])


PROPERTIES = [
    Property("in its own view each step is applied once, and in order", draw_same, cases=40),
    Property("what another view has summed is never applied", draw_other, cases=40),
]
