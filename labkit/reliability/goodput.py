"""Goodput: the fraction of time that becomes training progress. By formula, and by simulation.

All times in hours. The formula is first order; the simulation is the exact game, one life of the
job after the other, and can do what no formula here can: run out of spare machines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labkit.reliability.mtbf import HOURS_PER_DAY, Values

MOST_FAILURES = 20_000
"""A simulated span with more failures than this would take seconds to draw."""


def effective_training_time_ratio(
    nodes: Values,
    failures_per_node_day: Values,
    interval: Values,
    restart: Values,
    write: Values = 0.0,
) -> Values:
    """E[ETTR] = (1 - N r_f (u0 + dt/2)) / (1 + w/dt), of a job that never queues. Hours.

    A. Kokolis and others, "Revisiting Reliability in Large-Scale Machine Learning Research
    Clusters", HPCA 2025 (arXiv 2410.21680). N nodes, r_f failures per node-day, u0 `restart`,
    w `write`, dt `interval`. Below zero the formula has left its range: the answer is then 0.
    """
    failures_per_hour = np.asarray(nodes) * failures_per_node_day / HOURS_PER_DAY
    kept = 1 - failures_per_hour * (restart + np.asarray(interval) / 2)
    return np.maximum(kept, 0) / (1 + write / interval)


@dataclass(frozen=True)
class Job:
    """A job that fails as a whole when one of its machines does. All times in hours."""

    mtbf: float
    """of the whole job, while it runs"""
    interval: float
    """useful work between two checkpoints"""
    write: float
    """how long a checkpoint stops the training"""
    restart: float
    """from a failure to the next useful step: notice, replace, load, warm up"""
    spares: int | None = None
    """machines standing by; None: there is always one"""
    repair: float = 0.0
    """until a failed machine stands by again; counts only when the spares run out"""


@dataclass(frozen=True)
class Outcome:
    """Where the time went: fractions of the span, one entry per trial; they sum to 1.

    `lives` holds the first trial as rows (begin, end, restarted, kept): the job held its machines
    from `begin` to `end`, was back at `restarted`, and `kept` so many hours of work.
    """

    useful: NDArray[np.float64]
    writing: NDArray[np.float64]
    lost: NDArray[np.float64]
    restarting: NDArray[np.float64]
    waiting: NDArray[np.float64]
    failures: NDArray[np.int64]
    lives: NDArray[np.float64]

    @property
    def goodput(self) -> float:
        """The mean over the trials."""
        return float(self.useful.mean())


def simulate(job: Job, hours: float, trials: int = 100, seed: int = 0) -> Outcome:
    """Plays `trials` spans of `hours` of the job's life; the same seed gives the same outcome.

    One life of the job after the other, all trials at once: wait for a machine, restart, work in
    segments of interval + write, fail. A failure wastes what is newer than the last checkpoint;
    it may also strike a write or a restart. A machine that waits for others does not fail.
    """
    if hours / job.mtbf > MOST_FAILURES:
        raise ValueError(
            f"{hours:g} h with a failure every {job.mtbf:g} h are too many failures to draw:"
            f" simulate at most {MOST_FAILURES * job.mtbf:g} h"
        )
    random = np.random.default_rng(seed)
    totals = np.zeros((5, trials))
    failures = np.zeros(trials, dtype=np.int64)
    failed: list[NDArray[np.float64]] = []
    lives: list[tuple[float, float, float, float]] = []
    begin = np.zeros(trials)
    while (begin < hours).any():
        natural_end = begin + random.exponential(job.mtbf, trials)
        end = np.minimum(natural_end, hours)
        restart = job.restart if failed else 0.0
        spent = split(job, np.maximum(end - begin, 0), restart, natural_end < hours)
        lives.append((begin[0], end[0], min(begin[0] + restart, end[0]), spent[0][0]))
        failures += natural_end < hours
        failed.append(natural_end)
        begin = machine_ready(job, failed)
        waited = np.minimum(begin, hours) - end
        totals += np.stack([*spent, np.maximum(waited, 0)])
    rows = np.array([life for life in lives if life[0] < hours])
    useful, writing, lost, restarting, waiting = totals / hours
    return Outcome(useful, writing, lost, restarting, waiting, failures, rows)


def split(
    job: Job, up: NDArray[np.float64], restart: float, fails: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], ...]:
    """One life of `up` hours as hours (useful, writing, lost, restarting).

    A life that the end of the span cuts off has lost nothing: its last piece counts.
    """
    restarting = np.minimum(up, restart)
    running = up - restarting
    segments = np.floor(running / (job.interval + job.write))
    rest = running - segments * (job.interval + job.write)
    last = np.where(fails, 0.0, np.minimum(rest, job.interval))
    lost = np.where(fails, rest, 0.0)
    useful = segments * job.interval + last
    return useful, running - useful - lost, lost, restarting


def machine_ready(job: Job, failed: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """When the job has all its machines again after its last failure.

    Repairs take equally long, so machines come back in the order in which they failed: with S
    spares, failure i waits for the repair of the machine of failure i - S.
    """
    if job.spares is None or len(failed) <= job.spares:
        return failed[-1]
    return np.maximum(failed[-1], failed[-1 - job.spares] + job.repair)
