"""hang.3: who is slow. Means and deviations of all ranks hide what they should show."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[list[float], float, float]
FACTOR, SCORE = 1.5, 3.5


def alike(r: random.Random, ranks: int) -> list[float]:
    return [round(0.1 * r.uniform(0.9, 1.1), 4) for _ in range(ranks)]


def slowed(r: random.Random, times: list[float], factors: list[float]) -> Drawn:
    for rank, factor in zip(r.sample(range(len(times)), len(factors)), factors, strict=True):
        times[rank] = round(times[rank] * factor, 4)
    return times, FACTOR, SCORE


def draw_one(r: random.Random) -> Drawn:
    """A rank that is slow, or one that has had bad luck."""
    return slowed(r, alike(r, r.randrange(3, 9)), [r.choice([1.3, 2.0, 3.0, 30.0])])


def draw_two(r: random.Random) -> Drawn:
    """One is much slower than the other: a mean follows the one, a deviation swallows both."""
    return slowed(r, alike(r, r.randrange(6, 9)), [2.0, r.choice([2.0, 30.0])])


def draw_pair(r: random.Random) -> Drawn:
    return slowed(r, alike(r, 2), [r.choice([1.0, 2.0, 3.0])])


PROPERTIES = [
    Property("one slow rank is found, and luck is not", draw_one, cases=40),
    Property("two slow ranks do not hide each other", draw_two, cases=40),
    Property("of two ranks the slower one is found", draw_pair, cases=20),
]
