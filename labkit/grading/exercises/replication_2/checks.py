"""replication.2: is a history of one register linearizable?"""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Call = tuple[str, int | None, float, float]
"""What it did, with which value, and when it began and ended."""


def call(r: random.Random, begin: float, end: float) -> Call:
    kind = r.choice(["write", "read"])
    value = r.randrange(1, 3) if kind == "write" or r.random() < 0.7 else None
    return kind, value, round(begin, 1), round(end, 1)


def draw_overlapping(r: random.Random) -> tuple[list[Call]]:
    """All overlap, so that any order keeps real time; for half of the histories there is one."""
    return ([call(r, r.uniform(0, 3), r.uniform(4, 7)) for _ in range(r.randrange(4, 6))],)


def draw_calls(r: random.Random) -> tuple[list[Call]]:
    begins = [r.uniform(0, 6) for _ in range(r.randrange(4, 6))]
    return ([call(r, begin, begin + r.uniform(0.5, 4)) for begin in begins],)


PROPERTIES = [
    Property("some order explains all results", draw_overlapping, cases=40),
    Property("and it keeps real time", draw_calls, cases=40),
]
