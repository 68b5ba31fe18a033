"""chaos.1: a plan that breaks a job, made as small as it can be (A. Zeller and R. Hildebrandt,
"Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002: 1-minimality).

The job is the grader's: what is compared is not the answer's word for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from labkit.grading.exercise import Property
from labkit.grading.ports import Port

FAULTS = (
    *("kill 1", "kill 3", "pause 0", "pause 2", "slow 1", "slow 2"),
    *("cut 0 to 1", "cut 2 to 3", "delay 1 to 2", "drop 3 to 0", "partition"),
)
Drawn = tuple[list[str], list[list[str]]]


class Job:
    """It goes wrong when all faults of one of the `causes` are there."""

    def __init__(self, causes: list[list[str]]) -> None:
        self.causes = causes

    def breaks(self, faults: list[str]) -> bool:
        return any(all(fault in faults for fault in cause) for cause in self.causes)


def drawn(r: random.Random, causes: int) -> Drawn:
    faults = r.sample(FAULTS, r.randrange(4, 8))
    return faults, [sorted(r.sample(faults, r.choice([1, 2]))) for _ in range(causes)]


def draw_one(r: random.Random) -> Drawn:
    return drawn(r, causes=1)


def draw_two(r: random.Random) -> Drawn:
    return drawn(r, causes=2)


def what_is_left(
    function: Callable[..., Any], faults: list[str], causes: list[list[str]]
) -> dict[str, Any]:
    """Of several right answers any will do, so its properties are compared."""
    job = Job(causes)
    found = function(list(faults), Port(job, "breaks"))
    if not (isinstance(found, list) and all(isinstance(fault, str) for fault in found)):
        return {"a list of faults": f"{found!r:.60}"}

    def without(fault: str) -> list[str]:
        return [other for other in found if other != fault]

    return {
        "it still breaks": job.breaks(found),
        "could be left out": [fault for fault in found if job.breaks(without(fault))],
        "faults of the plan, in its order": found == [f for f in faults if f in found],
    }


PROPERTIES = [
    Property("of a single cause nothing more can be left out", draw_one, what_is_left),
    Property("of two causes one is left", draw_two, what_is_left, cases=30),
]
