"""The exercises of notebook 04, on heartbeats."""

from __future__ import annotations

import math
import random
from typing import Any

from labkit.checks import Exercise

# ---- hb.1: how often is a time-out wrong? --------------------------------------------------------


def mistakes_per_hour(timeout: float, interval: float, loss: float) -> float:
    return 3600 / interval * (1 - loss) * loss ** int(timeout / interval)


def draw_timeout(r: random.Random) -> tuple[float, float, float]:
    interval = r.choice([0.02, 0.05, 0.1, 1.0])
    return (
        (r.randrange(1, 6) + r.uniform(0.2, 0.8)) * interval,
        interval,
        r.choice([0.01, 0.1, 0.3]),
    )


# ---- hb.2: φ -------------------------------------------------------------------------------------


def phi(silence: float, mean: float, deviation: float) -> float:
    z = (silence - mean) / deviation
    if z < 20:
        return -math.log10(math.erfc(z / math.sqrt(2)) / 2)
    return (z * z / 2 + math.log(z * math.sqrt(2 * math.pi))) / math.log(10)


def draw_silence(r: random.Random) -> tuple[float, float, float]:
    mean, deviation = r.choice([0.05, 0.2, 1.0]), r.choice([0.01, 0.02, 0.1])
    return mean + deviation * r.choice([-1, 0, 0.5, 2, 4, 8, 25, 60, 1e4]), mean, deviation


def natural(silence: float, mean: float, deviation: float) -> float:
    return phi(silence, mean, deviation) * math.log(10)


def both_sides(silence: float, mean: float, deviation: float) -> float:
    return phi(silence, mean, deviation) - math.log10(2)


def forgets_the_mean(silence: float, mean: float, deviation: float) -> float:
    return phi(silence, 0.0, deviation)


# ---- hb.3: who hangs? ----------------------------------------------------------------------------


def hanging(counts: list[int], still: list[float], stuck: float) -> list[int]:
    furthest = max(counts)
    return [i for i, count in enumerate(counts) if still[i] > stuck and count < furthest]


def draw_counts(r: random.Random) -> tuple[list[int], list[float], float]:
    n, at = r.randrange(2, 9), 2 * r.randrange(1, 30)
    counts = [at + r.choice([0, 1, 1, 1]) for _ in range(n)]
    return counts, [r.choice([0.1, 0.8, 1.5]) for _ in range(n)], 0.5


def blames_all_that_stand_still(counts: list[int], still: list[float], stuck: float) -> Any:
    return [i for i in range(len(counts)) if still[i] > stuck]


def blames_all_that_are_behind(counts: list[int], still: list[float], stuck: float) -> Any:
    return [i for i, count in enumerate(counts) if count < max(counts)]


def blames_the_last_of_all(counts: list[int], still: list[float], stuck: float) -> Any:
    return [i for i, count in enumerate(counts) if still[i] > stuck and count == min(counts)]


# ---- hb.4: which belief is newer? ----------------------------------------------------------------

STATUS = ("alive", "suspect", "faulty")
Belief = tuple[int, str]


def believe(old: Belief, new: Belief) -> Belief:
    return max(old, new, key=lambda belief: (belief[0], STATUS.index(belief[1])))


def draw_beliefs(r: random.Random) -> tuple[Belief, Belief]:
    incarnation = r.randrange(4)
    return (incarnation, r.choice(STATUS)), (
        max(0, incarnation + r.choice([-1, 0, 0, 1])),
        r.choice(STATUS),
    )


def takes_the_news(old: Belief, new: Belief) -> Belief:
    return new


def alive_refutes(old: Belief, new: Belief) -> Belief:
    return new if new[0] >= old[0] and new[1] == "alive" else believe(old, new)


def status_first(old: Belief, new: Belief) -> Belief:
    return max(old, new, key=lambda belief: (STATUS.index(belief[1]), belief[0]))


EXERCISES = {
    "hb.1": Exercise(
        reference=mistakes_per_hour,
        draw=draw_timeout,
        mistakes={
            "a silence of k lost beats lasts k + 1 intervals": lambda t, i, p: (
                3600 / i * (1 - p) * p ** (int(t / i) + 1)
            ),
            "only a beat that arrives can begin a silence": lambda t, i, p: (
                3600 / i * p ** int(t / i)
            ),
        },
        cases=20,
    ),
    "hb.2": Exercise(
        reference=phi,
        draw=draw_silence,
        mistakes={
            "the logarithm is that of 10: φ = 3 is one in a thousand": natural,
            "only a later beat counts, not an earlier one: half of both tails": both_sides,
            "a silence as long as the mean is no surprise: subtract it": forgets_the_mean,
        },
        cases=30,
        tolerance=1e-4,
    ),
    "hb.3": Exercise(
        reference=hanging,
        draw=draw_counts,
        mistakes={
            "those that wait stand still as well: blame who is behind": blames_all_that_stand_still,
            "behind for a moment is no hang: look for how long it has stood still": (
                blames_all_that_are_behind
            ),
            "if all are equally far, nobody is behind": blames_the_last_of_all,
        },
        cases=40,
    ),
    "hb.4": Exercise(
        reference=believe,
        draw=draw_beliefs,
        mistakes={
            "news may be older than what is known": takes_the_news,
            "alive refutes nothing in the same incarnation: it may be older": alive_refutes,
            "the incarnation comes first: a new life is not dead": status_first,
        },
        cases=60,
    ),
}
