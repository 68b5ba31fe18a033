"""chaos.2: goodput of a record of steps, as `labkit.bench.accounting` counts it."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Attempt = tuple[int, float, float]
"""A step, and the seconds at which this try of it began and was complete."""
Drawn = tuple[list[Attempt], float, float]


def played(r: random.Random, failures: dict[int, int], pause: float) -> Drawn:
    """Steps of uneven length; at a failure it goes back some steps, after a pause."""
    begin = now = float(r.randrange(100))
    attempts: list[Attempt] = []
    step = 1
    while step <= 20:
        if back := failures.pop(step, 0):
            step, now = step - back, now + pause
        took = r.uniform(0.2, 1.0)
        attempts.append((step, round(now, 2), round(now + took, 2)))
        step, now = step + 1, now + took
    return attempts, begin, round(now + r.uniform(0, 2), 2)


def draw_redone(r: random.Random) -> Drawn:
    failures = {r.randrange(4, 20): r.randrange(1, 4) for _ in range(r.randrange(1, 4))}
    return played(r, failures, pause=0.0)


def draw_pauses(r: random.Random) -> Drawn:
    failures = {r.randrange(4, 20): r.randrange(3) for _ in range(r.randrange(1, 3))}
    return played(r, failures, pause=r.uniform(1, 5))


PROPERTIES = [
    Property("a step that was done again counts once, as it was kept", draw_redone, cases=10),
    Property("the time in which nobody works counts against it", draw_pauses, cases=10),
]
