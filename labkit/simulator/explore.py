"""Thousands of seeds on all cores; the first violation is shrunk and told.

explore(RAFT, seeds=1000)
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from labkit.simulator.finding import Finding, observe
from labkit.simulator.invariants import Violation
from labkit.simulator.scenario import Scenario, finish, prepare
from labkit.simulator.schedule import Schedule
from labkit.simulator.shrink import shrink, violation
from labkit.views.progress import Progress

CHUNK = 4
"""Seeds that a process takes at a time."""


class Exploration(Struct):
    """What `explore` found: nothing, or the first violations by seed, the first one shrunk.

    `delivered` counts messages, `faults` injected faults by kind, `seconds` real time.
    """

    scenario: str
    seeds: int
    delivered: int
    seconds: float
    faults: dict[str, int]
    failing: list[tuple[int, str]]
    finding: Finding | None

    def __str__(self) -> str:
        faults = sum(self.faults.values())
        head = (
            f"{self.scenario}: {self.seeds} seeds, {self.delivered:,} messages, {faults:,} faults"
        )
        if self.finding is None:
            return f"{head}; every invariant held."
        return f"{head}; {len(self.failing)} failed.\n{self.finding}"

    __repr__ = __str__


class _Outcome(Struct):
    seed: int
    delivered: int
    faults: dict[str, int]
    broken: str | None


Draw = Callable[[int], Schedule]
_task: tuple[Scenario, Draw] | None = None  # what the forked processes work on


def explore(
    scenario: Scenario,
    seeds: int | Iterable[int] = 1000,
    draw: Draw | None = None,
    processes: int | None = None,
    stop: bool = True,
) -> Exploration:
    """Plays the schedules that `draw`, or the scenario's own, makes of the seeds, on all cores.

    With `stop`, no further seeds are begun after a violation. The result does not depend on the
    number of processes: of several violations the one with the lowest seed is told.
    """
    draw = draw or scenario.draw
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    begin = time.perf_counter()
    outcomes: list[_Outcome] = []
    doing = f"exploring {scenario.name}"
    with Progress[object](None, doing, len(chosen), "seed") as bar:
        for outcome in _outcomes(scenario, chosen, draw, processes or os.cpu_count() or 1):
            outcomes.append(outcome)
            bar.update(1)
            if outcome.broken and stop:
                break  # they come in the order of the seeds
    seconds = time.perf_counter() - begin
    failing = [(o.seed, o.broken) for o in outcomes if o.broken]
    finding = describe(scenario, draw(failing[0][0])) if failing else None
    return Exploration(
        scenario.name,
        len(outcomes),
        sum(o.delivered for o in outcomes),
        seconds,
        dict(sum((Counter(o.faults) for o in outcomes), Counter())),
        failing,
        finding,
    )


def _outcomes(scenario: Scenario, seeds: list[int], draw: Draw, processes: int) -> Any:
    global _task
    _task = scenario, draw
    if processes == 1 or len(seeds) <= CHUNK:
        yield from map(_try, seeds)
        return
    # Forked, so that a scenario need not be picklable: it may hold a learner's class of a cell.
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap(_try, seeds, CHUNK)


def _try(seed: int) -> _Outcome:
    assert _task is not None  # set before the fork
    scenario, draw = _task
    schedule = draw(seed)
    kinds = Counter(type(entry.fault).__name__ for entry in schedule.plan)
    sim = prepare(scenario, schedule)
    try:
        finish(scenario, schedule, sim)
    except Violation as broken:
        return _Outcome(seed, sim.delivered, dict(kinds), str(broken))
    return _Outcome(seed, sim.delivered, dict(kinds), None)


def describe(scenario: Scenario, schedule: Schedule) -> Finding:
    """Shrinks a failing schedule and tells its story. Raises ValueError if it does not fail."""
    found = violation(scenario, schedule)
    if found is None:
        raise ValueError(f"{schedule} breaks no invariant of {scenario.name}")
    finding = observe(scenario, shrink(scenario, schedule, found.name), schedule)
    assert finding is not None, "what is left of the schedule breaks it as well"
    return finding
