"""hb.5: a budget for a failure detector. What a setting costs is measured in the simulator's
network, as Chen, Toueg and Aguilera define it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any

from labkit.grading.exercise import Property
from labkit.grading.hidden import hidden
from labkit.protocols.heartbeat import FixedTimeout
from labkit.simulator.network import Network
from labkit.simulator.qos import of_pair

Drawn = tuple[float, float, int, float]
BEATS = 4000
SLACK = 1.02
"""A setting that is two in a hundred from the best is as good."""
SEVERAL = 1.5
"""Times as many mistakes as the best setting makes are too many."""


def draw(r: random.Random, slowest: float) -> Drawn:
    """`slowest` in intervals. A time-out as long as two to four of them is possible."""
    beats = r.choice([5, 10, 20, 40])
    delay = round(slowest * r.uniform(0.8, 1.2) / beats, 4)
    detection = round((r.randrange(2, 5) + r.uniform(0.3, 0.7)) / beats + 2 * delay, 4)
    return delay, r.choice([0.1, 0.2, 0.3]), beats, detection


@hidden
def best(slowest: float, loss: float, beats: int, detection: float) -> float:
    """Mistakes per second of the best setting, measured."""
    return measured(1 / beats, detection - slowest, slowest, loss).rate


def measured(interval: float, timeout: float, slowest: float, loss: float) -> Any:
    network = Network(low=0.0, high=slowest, loss=loss)
    make = partial(FixedTimeout, timeout=timeout)
    return of_pair(make, network, interval, BEATS, crashes=60, seed=1)


def cost(function: Callable[..., Any], *drawn: Any) -> dict[str, str]:
    """Whether each bound is kept; the mistakes beside those of the best setting there is."""
    slowest, loss, beats, detection = drawn
    answer = function(*drawn)
    if type(answer) not in (tuple, list) or len(answer) != 2:
        return {"it returns": "no pair (interval, timeout)"}
    if any(type(x) not in (int, float) or not 0.001 <= x <= 100 for x in answer):
        return {"it returns": "no pair of seconds"}
    interval, timeout = map(float, answer)
    if interval * beats * SLACK < 1:
        return {"beats a second": f"{1 / interval:.3g}"}
    found = measured(interval, timeout, slowest, loss)
    longest = timeout + slowest  # the last beat may have been the slowest one
    few = found.rate <= SEVERAL * best(*drawn) + 2 / found.watched
    shown = "as few as can be" if few else f"{3600 * found.rate:.0f} an hour"
    late = longest > detection * SLACK or not math.isfinite(found.slowest)
    return {
        "it returns": "a setting",
        "detection": f"in up to {longest:.3g} s" if late else "in time",
        "mistakes": shown,
    }


PROPERTIES = [
    Property("on a fast network", partial(draw, slowest=0.1), cost, cases=5),
    Property("where beats take as long as an interval", partial(draw, slowest=1.0), cost, cases=5),
]
