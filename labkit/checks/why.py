"""The exercises of notebook 01, Why training fails."""

from __future__ import annotations

import random

from labkit.checks import Exercise
from labkit.reliability.mtbf import at_least

GPUS_PER_NODE = 8


def mtbf_hours(gpus: int, failures_per_node_day: float) -> float:
    return 24 / (gpus / GPUS_PER_NODE * failures_per_node_day)


def draw_fleet(r: random.Random) -> tuple[int, float]:
    return 8 * 2 ** r.randrange(0, 12), r.choice([1e-3, 2.34e-3, 3.79e-3, 6.5e-3])


def kept_hours(failures: list[float], interval: float, restart: float, end: float) -> float:
    kept, back = 0.0, 0.0
    for stop in [*failures, end]:
        kept += max(0, (stop - back) // interval) * interval
        back = stop + restart
    return kept


def kept_without_loss(failures: list[float], interval: float, restart: float, end: float) -> float:
    kept, back = 0.0, 0.0
    for stop in [*failures, end]:
        kept += max(0, stop - back)
        back = stop + restart
    return kept


def kept_with_free_restart(
    failures: list[float], interval: float, restart: float, end: float
) -> float:
    return kept_hours(failures, interval, 0.0, end)


def kept_with_negative_lives(
    failures: list[float], interval: float, restart: float, end: float
) -> float:
    kept, back = 0.0, 0.0
    for stop in [*failures, end]:
        kept += (stop - back) // interval * interval
        back = stop + restart
    return kept


def kept_without_last_life(
    failures: list[float], interval: float, restart: float, end: float
) -> float:
    return kept_hours(failures[:-1], interval, restart, failures[-1])


def draw_failures(r: random.Random) -> tuple[list[float], float, float, float]:
    """Eight failures in 24 hours, two of them so close that the second strikes a restart.

    Nothing is rounded, so that no life holds a whole number of intervals, where // and floor of a
    quotient may differ.
    """
    times = [r.uniform(0.5, 23.5) for _ in range(7)]
    times.append(times[0] + r.uniform(0.1, 0.3))
    return sorted(times), r.uniform(0.2, 0.5), r.uniform(0.6, 0.9), 24.0


def voters_needed(works: float, wanted: float) -> int:
    voters = 1
    while at_least(voters // 2 + 1, voters, works) < wanted:
        voters += 2
    return voters


def voters_if_half_is_enough(works: float, wanted: float) -> int:
    voters = 1
    while at_least((voters + 1) // 2, voters, works) < wanted:
        voters += 1
    return voters


def voters_if_one_is_enough(works: float, wanted: float) -> int:
    voters = 1
    while at_least(1, voters, works) < wanted:
        voters += 1
    return voters


def draw_voters(r: random.Random) -> tuple[float, float]:
    return r.choice([0.9, 0.95, 0.98, 0.99]), r.choice([0.9999, 0.99999, 0.999999])


EXERCISES = {
    "why.1": Exercise(
        mtbf_hours,
        draw_fleet,
        mistakes={
            "the rate is per node, and a node has 8 GPUs": lambda g, r: 24 / (g * r),
            "that is in days": lambda g, r: 8 / (g * r),
            "that is a rate, its inverse is the time": lambda g, r: g / 8 * r / 24,
        },
    ),
    "why.2": Exercise(
        kept_hours,
        draw_failures,
        mistakes={
            "work newer than the last checkpoint is gone": kept_without_loss,
            "after a failure the job is away for the restart": kept_with_free_restart,
            "a failure during a restart cannot take away what was saved": kept_with_negative_lives,
            "after the last failure the job runs until the end": kept_without_last_life,
        },
    ),
    "why.3": Exercise(
        voters_needed,
        draw_voters,
        mistakes={
            "half is no majority: of four voters, three must agree": voters_if_half_is_enough,
            "one survivor cannot know that it is the only one": voters_if_one_is_enough,
        },
    ),
}
