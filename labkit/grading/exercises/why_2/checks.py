"""why.2: what failures leave of a day's work.

Nothing is rounded, so that no life holds a whole number of intervals, where // and int of a
quotient may differ.
"""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[list[float], float, float, float]
END = 24.0
"""Hours."""


def apart(r: random.Random) -> list[float]:
    """Seven failures, so far apart that each finds the job running."""
    return [3 * place + r.uniform(1.0, 2.0) for place in range(7)]


def draw_without_restart(r: random.Random) -> Drawn:
    return apart(r), r.uniform(0.2, 0.5), 0.0, END


def draw_with_restart(r: random.Random) -> Drawn:
    return apart(r), r.uniform(0.2, 0.5), r.uniform(0.6, 0.9), END


def draw_close_ones(r: random.Random) -> Drawn:
    """Two failures so close that the second strikes a restart, by more than an interval."""
    failures = apart(r)
    failures.append(r.choice(failures) + r.uniform(0.05, 0.1))
    return sorted(failures), r.uniform(0.2, 0.4), r.uniform(0.7, 0.9), END


PROPERTIES = [
    Property("work newer than the last save is gone", draw_without_restart, cases=6),
    Property("the job is away while it restarts", draw_with_restart, cases=6),
    Property("a failure may strike during a restart", draw_close_ones, cases=6),
]
