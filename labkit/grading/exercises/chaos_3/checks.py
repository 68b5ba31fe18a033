"""chaos.3: for how long may nobody go on? Deaths and returns of voters, on a clock."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[int, list[tuple[float, int]], float]


def drawn(r: random.Random, voters: int, changes: int, death: float) -> Drawn:
    """So many changes; where either can be, it is a death with this probability."""
    alive, now = voters, 0.0
    found = []
    for _ in range(changes):
        now += r.uniform(0.5, 9)
        change = -1 if alive == voters or (alive and r.random() < death) else 1
        alive += change
        found.append((round(now, 1), change))
    return voters, found, round(now + r.uniform(1, 9), 1)


def draw_even(r: random.Random) -> Drawn:
    return drawn(r, r.choice([2, 4, 6]), r.randrange(4, 10), 0.6)


def draw_odd(r: random.Random) -> Drawn:
    return drawn(r, r.choice([3, 5, 7]), r.randrange(6, 14), 0.6)


def draw_to_the_end(r: random.Random) -> Drawn:
    """Most of them die, and the end comes before they are back."""
    voters = r.choice([3, 4, 5])
    return drawn(r, voters, r.randrange(voters, voters + 3), 0.9)


PROPERTIES = [
    Property("half of the voters is no majority", draw_even, cases=20),
    Property("one more than half is enough", draw_odd, cases=20),
    Property("the clock runs on after the last change", draw_to_the_end, cases=20),
]
