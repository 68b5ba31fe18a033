"""Shrinks a failing schedule: deletes what is not needed while the same invariant still breaks.

The faults are deleted in ever smaller pieces (A. Zeller and R. Hildebrandt, "Simplifying and
Isolating Failure-Inducing Input", IEEE TSE 2002); then the network is made as kind as it can be.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from labkit.faults import At
from labkit.simulator.invariants import Violation
from labkit.simulator.network import Network
from labkit.simulator.scenario import Scenario, play
from labkit.simulator.schedule import Schedule

Fails = Callable[[Schedule], bool]


def violation(scenario: Scenario, schedule: Schedule) -> Violation | None:
    """What a schedule breaks, if anything."""
    try:
        play(scenario, schedule)
    except Violation as found:
        return found
    return None


def shrink(
    scenario: Scenario,
    schedule: Schedule,
    name: str,
    tries: int = 400,
    until: float = float("inf"),
) -> Schedule:
    """The schedule that is left when nothing more can go; at most so many runs are spent on it, and
    none begins when `time.monotonic()` is `until`, in seconds.

    It breaks the invariant of this `name`, as the given one does.
    """
    left = tries

    def fails(candidate: Schedule) -> bool:
        nonlocal left
        left -= 1
        more = left >= 0 and time.monotonic() < until
        found = more and violation(scenario, candidate)
        return bool(found) and found.name == name  # type: ignore[union-attr]

    schedule = _shorter(schedule, fails, scenario)
    for change in (_calmer, _fewer, _calmer):
        schedule = change(schedule, fails)
    return schedule


def _shorter(schedule: Schedule, fails: Fails, scenario: Scenario) -> Schedule:
    """Nothing that comes after half, a quarter, … of the time, if it is not needed."""
    end = schedule.seconds
    while end > 0.1:
        end /= 2
        plan = tuple(entry for entry in schedule.plan if (entry.seconds or 0.0) < end)
        candidate = msgspec.structs.replace(schedule, plan=plan, seconds=end)
        if not fails(candidate):
            break
        schedule = candidate
    return schedule


def _fewer(schedule: Schedule, fails: Fails) -> Schedule:
    """Deletes pieces of the plan: halves first, single faults last."""
    size = max(1, len(schedule.plan) // 2)
    while schedule.plan:
        deleted = False
        begin = 0
        while begin < len(schedule.plan):
            kept: tuple[At, ...] = schedule.plan[:begin] + schedule.plan[begin + size :]
            candidate = msgspec.structs.replace(schedule, plan=kept)
            if fails(candidate):
                schedule, deleted = candidate, True
            else:
                begin += size
        if size == 1 and not deleted:
            break
        size = max(1, size // 2)
    return schedule


def _calmer(schedule: Schedule, fails: Fails) -> Schedule:
    """A network without loss, without duplicates, without long delays: whatever still fails."""
    plain = msgspec.structs.replace(schedule, network=Network())
    if schedule.network == Network() or fails(plain):
        return plain
    for field in ("loss", "duplicate", "tail"):
        network = msgspec.structs.replace(schedule.network, **{field: 0.0})
        candidate = msgspec.structs.replace(schedule, network=network)
        if candidate != schedule and fails(candidate):
            schedule = candidate
    return schedule
