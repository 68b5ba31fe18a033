"""data_parallel.3: a bucket size within a stated bound of the best one, for any wire.

The bound is on the time at which the last bucket is through, by the arithmetic of
`labkit.training.overlap`, and on the size of a bucket, which a GPU has to hold a second time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from labkit.checks import Case
from labkit.grading.exercise import Property
from labkit.reliability.communication import Wire
from labkit.training.overlap import on_paper
from labkit.views.budget import within_budget

Ready = list[tuple[float, int]]
SLACK = 1.05
FINE = 1.05
"""From one capacity that is tried to the next."""


class Spent(str):
    """What is compared, and the capacity that was chosen, for the picture."""

    chosen: int


def through(ready: Ready, ranks: int, alpha: float, beta: float, capacity: int) -> float:
    return on_paper(ready, Wire(alpha, beta), ranks, capacity).travel[-1][1]


def capacities(ready: Ready, most: int) -> list[int]:
    """All that are worth a trial, up to `most`."""
    found = [most]
    while found[-1] > min(size for _, size in ready):
        found.append(int(found[-1] / FINE))
    return found


def curve(
    ready: Ready, ranks: int, alpha: float, beta: float, most: int
) -> list[tuple[int, float]]:
    return [(c, through(ready, ranks, alpha, beta, c)) for c in capacities(ready, most)]


@cache
def least(
    ready: tuple[tuple[float, int], ...], ranks: int, alpha: float, beta: float, most: int
) -> float:
    """Once for the reference and the answer."""
    return min(seconds for _, seconds in curve(list(ready), ranks, alpha, beta, most))


def spent(
    function: Callable[..., Any], ready: Ready, ranks: int, alpha: float, beta: float, most: int
) -> Spent:
    """Whether the answer keeps the budget, or by how much it does not."""
    chosen = function(ready, ranks, alpha, beta, most)
    if type(chosen) not in (int, float) or not chosen >= 1:
        return told("no number of bytes", 0)
    if chosen > most:
        return told("more than there is memory for", int(min(chosen, 1e12)))
    best = least(tuple(ready), ranks, alpha, beta, most)
    times = through(ready, ranks, alpha, beta, int(chosen)) / best
    kept = times <= SLACK
    return told("within the budget" if kept else f"{times:.2f} times the best", int(chosen))


def told(text: str, chosen: int) -> Spent:
    found = Spent(text)
    found.chosen = chosen
    return found


def draw_step(
    r: random.Random, alphas: tuple[float, float], hidden: tuple[float, float], most: float
) -> tuple[Ready, int, float, float, int]:
    """A backward pass of 10 to 40 ms; `alphas` are seconds a message, `hidden` says how many times
    as long as the pass its bytes would travel, and `most` how much of them a bucket may hold."""
    count, seconds = r.randrange(24, 48), r.uniform(0.01, 0.04)
    moments = sorted(r.uniform(0.05, 1) * seconds for _ in range(count))
    sizes = [r.choice([1, 2, 4, 8]) * r.randrange(8, 16) * 512 for _ in range(count)]
    ranks = r.choice([4, 8, 16])
    alpha = alphas[0] * (alphas[1] / alphas[0]) ** r.random()
    travels = r.uniform(*hidden) * seconds
    beta = travels / (2 * (ranks - 1) / ranks * sum(sizes))
    ready = [(round(m, 6), s) for m, s in zip(moments, sizes, strict=True)]
    return ready, ranks, alpha, beta, int(most * sum(sizes))


def picture(cases: Sequence[Case]) -> Any:
    """The first case over the budget, else the first."""
    case = next((c for c in cases if c.expected != c.got), cases[0])
    return within_budget(curve(*case.arguments), case.got.chosen, SLACK, case.arguments[-1])


def budget(title: str, **drawn: Any) -> Property:
    return Property(title, partial(draw_step, **drawn), spent, cases=6, picture=picture)


PROPERTIES = [
    budget(
        "within 5 % of the best, where messages are slow",
        alphas=(50e-6, 1e-3),
        hidden=(0.2, 0.8),
        most=1.0,
    ),
    budget(
        "within 5 % of the best, where bytes are slow",
        alphas=(1e-6, 50e-6),
        hidden=(0.8, 1.6),
        most=1.0,
    ),
    budget(
        "within 5 % of the best, and within the memory",
        alphas=(1e-6, 1e-3),
        hidden=(0.6, 1.4),
        most=0.2,
    ),
]
