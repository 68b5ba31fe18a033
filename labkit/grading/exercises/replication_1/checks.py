"""replication.1: R and W of N for given deaths."""

from __future__ import annotations

import random
from collections.abc import Sequence

from labkit.checks import Case
from labkit.grading.exercise import Property

Drawn = tuple[int, int, int]


def draw_possible(r: random.Random) -> Drawn:
    n = r.randrange(2, 10)
    dead_writers = r.randrange(n)
    return n, r.randrange(n - dead_writers), dead_writers


def draw_any(r: random.Random) -> Drawn:
    n = r.randrange(2, 10)
    return n, r.randrange(n), r.randrange(n)


def no_picture(cases: Sequence[Case]) -> None:
    return None


PROPERTIES = [
    Property("the smallest R, with its W", draw_possible, cases=30, picture=no_picture),
    Property(
        "where too many may be dead there is no answer", draw_any, cases=30, picture=no_picture
    ),
]
