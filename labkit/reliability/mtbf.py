"""How often something fails: mean time between failures of one machine and of N.

Failures are taken to be independent and without memory (exponential), the assumption of nearly
every formula in the field. Where it bends: preemptions come in a bathtub shape (J. Kadupitiya and
others, arXiv 1911.05160), and a power cut takes many machines at once.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

HOURS_PER_DAY = 24.0

Values = float | NDArray[np.float64]
"""A number, or an array of numbers for a curve."""


def all_work(probability: Values, machines: Values) -> Values:
    """The probability that every one of `machines` works, if each does with `probability`."""
    return probability**machines


def at_least(needed: int, machines: int, probability: float) -> float:
    """The probability that at least `needed` of `machines` work: the binomial tail.

    needed = machines is a job that stops with its first machine; needed = 1 a replicated value;
    needed = machines // 2 + 1 a majority.
    """
    if not 0 <= needed <= machines:
        raise ValueError(f"of {machines} machines, {needed} cannot be needed: choose 0..{machines}")
    q = 1.0 - probability
    return sum(
        comb(machines, k) * probability**k * q ** (machines - k)
        for k in range(needed, machines + 1)
    )


def mtbf_of_many(mtbf_of_one: Values, machines: Values) -> Values:
    """Mean time between failures of `machines` together, in the unit of `mtbf_of_one`.

    The rates of independent exponential failures add up, so the times divide.
    """
    return mtbf_of_one / machines


def job_mtbf_hours(nodes: Values, failures_per_node_day: float) -> Values:
    """MTTF = 1 / (N_nodes r_f), in hours. A. Kokolis and others, HPCA 2025 (arXiv 2410.21680)."""
    return HOURS_PER_DAY / (nodes * failures_per_node_day)


def failures_per_node_day(failures: float, nodes: float, days: float) -> float:
    """The rate r_f behind a count of failures."""
    return failures / (nodes * days)


def survival(time: Values, mtbf: Values) -> Values:
    """The probability of no failure within `time`: exp(-time / mtbf), both in one unit."""
    return np.exp(-np.asarray(time) / mtbf)


def availability(mtbf: Values, repair: Values) -> Values:
    """The fraction of time that a machine works: MTBF / (MTBF + MTTR), both in one unit."""
    return mtbf / (mtbf + repair)


def first_failures(
    mtbf_of_one: float, machines: int, trials: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """When the first of `machines` failed, in each trial: shape (trials,), unit of `mtbf_of_one`.

    Every machine gets its own life; nothing is taken from the formula that this is compared with.
    """
    lives = random.exponential(mtbf_of_one, (trials, machines))
    return lives.min(axis=1)
