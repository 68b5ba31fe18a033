"""ckpt.7: how often to write into each tier, judged by months of drawn failures.

A failure of a tier's own kind takes all faster tiers with it; what is restored is the newest
checkpoint of that tier and the slower ones. Two-level intervals: N. Vaidya, "A Case for Two-Level
Distributed Recovery Schemes", SIGMETRICS 1995; A. Moody et al., SCR, SC 2010.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.checks import Case
from labkit.grading.exercise import Property
from labkit.grading.hidden import hidden

DAY = 86_400
ROOM = 1.2
"""The bound is a fifth above what is lost, on average, at the best intervals: two thirds of them,
or one and a half times, will do, and a wrong rule will not."""
RAREST = 40
"""Failures of the rarest kind in a job: with fewer, luck would count for more than the rule."""

Tier = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What a case is drawn from; its text stands in the check's sentence."""

    tiers: list[Tier]
    budget: float
    seed: int

    def __repr__(self) -> str:
        each = (f"{t['stall']:g} s a write, {t['mtbf']:g} s to failure" for t in self.tiers)
        return f"{'; '.join(each)}; {self.budget:g} dollars a day"


class Judged(dict[str, str]):
    """What is compared; for the picture, the shares of the time that went where."""

    shares: dict[str, float]
    bound: float


def draw_tiers(r: random.Random) -> list[Tier]:
    """A neighbour's memory, mostly a disk, an object store; only the last one costs money."""
    tiers: list[Tier] = [
        {
            "name": "a neighbour's memory",
            "stall": r.choice([0.1, 0.2, 0.5]),
            "price": 0.0,
            "mtbf": 60.0 * r.randrange(30, 61),
        },
        {
            "name": "local disk",
            "stall": float(r.randrange(2, 10)),
            "price": 0.0,
            "mtbf": 3600.0 * r.randrange(4, 13),
        },
        {
            "name": "object store",
            "stall": float(r.randrange(20, 90)),
            "price": r.choice([0.5, 2.0, 5.0]),
            "mtbf": DAY * float(r.randrange(4, 11)),
        },
    ]
    return tiers if r.random() < 0.6 else [tiers[0], tiers[2]]


@hidden
def young(tier: Tier) -> float:
    return math.sqrt(2 * tier["stall"] * tier["mtbf"])


def draw_rich(r: random.Random) -> tuple[Job]:
    tiers = draw_tiers(r)
    needed = DAY / young(tiers[-1]) * tiers[-1]["price"]
    return (Job(tiers, round(10 * needed), r.getrandbits(32)),)


def draw_poor(r: random.Random) -> tuple[Job]:
    """There is money for a third to a fifth of the writes."""
    tiers = draw_tiers(r)
    needed = DAY / young(tiers[-1]) * tiers[-1]["price"]
    return (Job(tiers, round(needed / r.uniform(3, 5), 2), r.getrandbits(32)),)


@hidden
def bound_of(job: Job) -> float:
    """The share of the time that may be lost."""
    dear = [max(young(tier), DAY * tier["price"] / job.budget) for tier in job.tiers]
    pairs = zip(job.tiers, dear, strict=True)
    return ROOM * sum(t["stall"] / every + every / (2 * t["mtbf"]) for t, every in pairs)


def time_lost(function: Callable[..., Any], job: Job) -> Judged:
    """The share of the time that is no progress, in a job of that many failures."""
    every = function([dict(tier) for tier in job.tiers], job.budget)
    if not seconds(every, len(job.tiers)):
        return Judged({"intervals": f"{every!r:.60}, not {len(job.tiers)} positive numbers"})
    stalls = {t["name"]: t["stall"] / e for t, e in zip(job.tiers, every, strict=True)}
    pace = 1 / (1 + sum(stalls.values()))  # seconds of work in one of time
    lost, end = redone(job, every, pace)
    share = 1 - pace + lost / end
    judged = Judged({"lost": within(100 * share, 100 * bound_of(job), "% of the time")})
    judged.shares = {f"written: {name}": 100 * stall * pace for name, stall in stalls.items()}
    judged.shares["work done again"] = 100 * lost / end
    judged.bound = 100 * bound_of(job)
    return judged


def dollars_too(function: Callable[..., Any], job: Job) -> Judged:
    """The same, and what the writes cost."""
    answers: list[Any] = []

    def listening(*arguments: Any) -> Any:
        answers.append(function(*arguments))
        return answers[0]

    judged = time_lost(listening, job)
    if seconds(answers[0], len(job.tiers)):
        spent = sum(DAY / e * t["price"] for t, e in zip(job.tiers, answers[0], strict=True))
        judged["spent"] = within(spent, 1.001 * job.budget, "dollars a day")
    return judged


def seconds(answer: Any, count: int) -> bool:
    return (
        isinstance(answer, list | tuple)
        and len(answer) == count
        and all(type(e) in (int, float) and 1e-3 < e < 1e12 for e in answer)
    )


def within(value: float, bound: float, unit: str) -> str:
    limit = f"at most {bound:.3g} {unit}"
    return limit if value <= bound else f"{value:.3g} {unit}"


def redone(job: Job, every: Sequence[float], pace: float) -> tuple[float, float]:
    """Seconds of work that failures took, and the seconds that the job lasted."""
    dice = np.random.default_rng(job.seed)
    mtbfs = np.array([tier["mtbf"] for tier in job.tiers])
    end, total = RAREST * mtbfs.max(), (1 / mtbfs).sum()
    gaps = dice.exponential(1 / total, int(1.2 * end * total))
    gaps = gaps[gaps.cumsum() < end]
    kinds = dice.choice(len(mtbfs), gaps.size, p=1 / mtbfs / total)
    survive = [every[kind:] for kind in range(len(every))]
    work = lost = 0.0
    for gap, kind in zip((pace * gaps).tolist(), kinds.tolist(), strict=True):
        work += gap
        back = min([work % e for e in survive[kind]])  # since the newest that survives this
        work, lost = work - back, lost + back
    return lost, float(end)


def where_it_went(cases: Sequence[Case]) -> Any:
    """Of the first wrong case, else of the first: what was written for, and what was lost."""
    from labkit.views.curves import compare_bars

    judged = next((case.got for case in cases if case.got != case.expected), cases[0].got)
    total = sum(judged.shares.values())
    title = f"{total:.1f} % of the time is no progress; {judged.bound:.1f} % are allowed"
    return compare_bars(judged.shares, unit="% of the time", title=title)


PROPERTIES = [
    Property(
        "the time that is lost stays within the bound",
        draw_rich,
        time_lost,
        cases=4,
        picture=where_it_went,
    ),
    Property(
        "so do the dollars, where they are short",
        draw_poor,
        dollars_too,
        cases=4,
        picture=where_it_went,
    ),
]
