"""ckpt.3: which checkpoints may go, the rule of `labkit.checkpoint.retention`."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Checkpoints = list[tuple[int, bool]]
Drawn = tuple[Checkpoints, int]


def checkpoints(r: random.Random, least: int, whole: float) -> Checkpoints:
    """At least so many, each of them good with this probability."""
    steps = sorted(r.sample(range(10, 100, 10), r.randrange(least, 8)))
    return [(step, r.random() < whole) for step in steps]


def draw_any(r: random.Random) -> Drawn:
    return checkpoints(r, 0, 0.6), r.randrange(1, 4)


def draw_damaged(r: random.Random) -> Drawn:
    """No more than `keep` are good, and the newest is: all that goes is damaged."""
    found = checkpoints(r, 3, 0.3)
    found[-1] = found[-1][0], True
    return found, max(3, sum(good for _, good in found))


def draw_incomplete(r: random.Random) -> Drawn:
    """The newest is damaged, or on its way still; of the others there may be none."""
    found = checkpoints(r, 1, 0.7)
    found[-1] = found[-1][0], False
    return found, r.randrange(1, 3)


PROPERTIES = [
    Property("the newest good ones stay, and files are not counted", draw_any, cases=40),
    Property("what is damaged goes when a newer one is good", draw_damaged, cases=30),
    Property("the newest may only be incomplete", draw_incomplete, cases=30),
]
