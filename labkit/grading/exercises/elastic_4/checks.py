"""elastic.4: notebook 11's careful loop, played; what will come out is to be said beforehand."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from labkit.grading.exercise import Property
from labkit.grading.hidden import hidden

Deaths = list[tuple[int, str]]
Drawn = tuple[int, Deaths, bool]
MOMENTS = ("computed", "applied", "met")


def draw_one(r: random.Random) -> Drawn:
    steps = r.randrange(5, 30)
    return steps, [(r.randrange(1, steps), r.choice(MOMENTS))], r.random() < 0.5


def draw_several(r: random.Random) -> Drawn:
    """Two to five deaths; often one more in a step that is being done again."""
    steps = r.randrange(5, 30)
    deaths = [(r.randrange(1, steps), r.choice(MOMENTS)) for _ in range(r.randrange(2, 5))]
    if r.random() < 0.7:
        deaths.append((deaths[0][0], r.choice(["computed", "applied", "applied"])))
    return steps, sorted(deaths), r.random() < 0.3


@hidden
def play(steps: int, deaths: Deaths, fence: bool) -> int:
    """The loop as a survivor goes through it."""
    weight, applied, step = 0, 0, 1
    to_come = list(deaths)

    def dies(moment: str) -> bool:
        strikes = (step, moment) in to_come
        if strikes:
            to_come.remove((step, moment))
        return strikes

    while step <= steps:
        if dies("computed"):
            continue  # regroup, and do the step again
        if not fence or step > applied:
            weight, applied = weight + 1, step
        if dies("applied"):
            continue
        while dies("met"):
            pass  # noticed in the next step's sum, of which nobody has applied anything
        step += 1
    return weight


def predicted(
    function: Callable[..., Any], steps: int, deaths: Deaths, fence: bool
) -> dict[str, Any]:
    """The prediction, beside what the loop really does."""
    return {
        "you say": function(steps, list(deaths), fence),
        "the loop ends with": play(steps, deaths, fence),
    }


PROPERTIES = [
    Property("one death, at any of the three moments", draw_one, predicted, cases=40),
    Property("several deaths, some of them in the same step", draw_several, predicted, cases=30),
]
