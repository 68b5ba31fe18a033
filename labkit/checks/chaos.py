"""The exercises of the last notebook: what broke it, what was left of the time, who may go on."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from labkit.checks import Exercise

Attempt = tuple[int, float, float]
"""A step, and the seconds at which this try of it began and was complete."""

# ---- chaos.1: what of the plan is needed? --------------------------------------------------------

FAULTS = (
    *("kill 1", "kill 3", "pause 0", "pause 2", "slow 1", "slow 2"),
    *("cut 0 to 1", "cut 2 to 3", "delay 1 to 2", "drop 3 to 0", "partition"),
)


class Breaks:
    """True for faults among which are all of one of the `causes`."""

    def __init__(self, *causes: frozenset[str]) -> None:
        self.causes = causes

    def __call__(self, faults: list[str]) -> bool:
        return any(cause <= set(faults) for cause in self.causes)

    def __repr__(self) -> str:
        together = (" and ".join(sorted(cause)) for cause in self.causes)
        return f"<true with {', or with '.join(together)}>"


def shrink(faults: list[str], breaks: Callable[[list[str]], bool]) -> list[str]:
    for fault in list(faults):
        fewer = [other for other in faults if other != fault]
        if breaks(fewer):
            faults = fewer
    return faults


def draw_culprits(r: random.Random) -> tuple[list[str], Breaks]:
    faults = r.sample(FAULTS, r.randrange(4, 8))
    causes = [frozenset(r.sample(faults, r.choice([1, 2, 2]))) for _ in range(r.choice([1, 2]))]
    return faults, Breaks(*causes)


def what_is_left(
    function: Callable[..., Any], faults: list[str], breaks: Breaks
) -> dict[str, Any] | str:
    """Of several right answers any will do, so its properties are compared."""
    found = function(list(faults), breaks)
    if not isinstance(found, list):
        return f"{found!r}, which is no list"
    without = {fault: [other for other in found if other != fault] for fault in found}
    return {
        "it still breaks": breaks(found),
        "could be left out": [fault for fault in found if breaks(without[fault])],
        "faults of the plan, in its order": found == [f for f in faults if f in found],
    }


def each_against_the_whole(faults: list[str], breaks: Breaks) -> list[str]:
    return [f for f in faults if not breaks([other for other in faults if other != f])]


def one_alone(faults: list[str], breaks: Breaks) -> list[str]:
    return next(([fault] for fault in faults if breaks([fault])), faults)


def cuts_the_end(faults: list[str], breaks: Breaks) -> list[str]:
    while breaks(faults[:-1]):
        faults = faults[:-1]
    return faults


# ---- chaos.2: how much of the time counted? ------------------------------------------------------


def goodput(attempts: list[Attempt], begin: float, end: float) -> float:
    last = {step: stop - start for step, start, stop in attempts}
    return sum(last.values()) / (end - begin)


def draw_attempts(r: random.Random) -> tuple[list[Attempt], float, float]:
    """Steps of uneven length; now and then a failure: back some steps, after a pause."""
    begin = now = float(r.randrange(100))
    attempts: list[Attempt] = []
    step, failures = 1, {r.randrange(3, 20): r.randrange(1, 4) for _ in range(r.randrange(1, 3))}
    while step <= 20:
        back = failures.pop(step, 0)
        if back:
            step, now = step - back, now + r.uniform(1, 5)
        took = round(r.uniform(0.2, 1.0), 2)
        attempts.append((step, round(now, 2), round(now + took, 2)))
        step, now = step + 1, now + took
    return attempts, begin, now + r.uniform(0, 2)


def counts_every_attempt(attempts: list[Attempt], begin: float, end: float) -> float:
    return sum(stop - start for _, start, stop in attempts) / (end - begin)


def counts_what_was_lost(attempts: list[Attempt], begin: float, end: float) -> float:
    return goodput(attempts[::-1], begin, end)


def leaves_out_the_pauses(attempts: list[Attempt], begin: float, end: float) -> float:
    busy = sum(stop - start for _, start, stop in attempts)
    return goodput(attempts, 0.0, busy)


# ---- chaos.3: for how long may nobody go on? -----------------------------------------------------


def stands_still(voters: int, changes: list[tuple[float, int]], end: float) -> float:
    total, alive, now = 0.0, voters, 0.0
    for second, change in [*changes, (end, 0)]:
        if 2 * alive <= voters:
            total += second - now
        alive, now = alive + change, second
    return total


def draw_changes(r: random.Random) -> tuple[int, list[tuple[float, int]], float]:
    """Deaths come oftener than returns, and the end may come in the middle of it."""
    voters = r.choice([3, 4, 5, 5, 7])
    alive, now = voters, 0.0
    changes = []
    for _ in range(r.randrange(4, 12)):
        now += r.uniform(0.5, 9)
        change = -1 if alive == voters or (alive and r.random() < 0.6) else 1
        alive += change
        changes.append((round(now, 1), change))
    return voters, changes, round(now + r.uniform(1, 9), 1)


def with_limit(enough: Callable[[int, int], bool]) -> Callable[..., float]:
    def stands(voters: int, changes: list[tuple[float, int]], end: float) -> float:
        total, alive, now = 0.0, voters, 0.0
        for second, change in [*changes, (end, 0)]:
            if not enough(alive, voters):
                total += second - now
            alive, now = alive + change, second
        return total

    return stands


def ends_with_the_last_change(voters: int, changes: list[tuple[float, int]], end: float) -> float:
    return stands_still(voters, changes, changes[-1][0])


EXERCISES = {
    "chaos.1": Exercise(
        reference=shrink,
        draw=draw_culprits,
        run=what_is_left,
        mistakes={
            "where two causes are there, neither is needed: leave one fault out, look again, and "
            "go on with what is left": each_against_the_whole,
            "it may take two faults together": one_alone,
            "what comes first may not be needed either": cuts_the_end,
        },
        cases=30,
    ),
    "chaos.2": Exercise(
        reference=goodput,
        draw=draw_attempts,
        mistakes={
            "a step that was done again counts once": counts_every_attempt,
            "the last attempt is the one whose result was kept": counts_what_was_lost,
            "the time in which nobody worked was paid for as well": leaves_out_the_pauses,
        },
        cases=10,
    ),
    "chaos.3": Exercise(
        reference=stands_still,
        draw=draw_changes,
        mistakes={
            "half is no majority: the other half may be alive, and think the same": with_limit(
                lambda alive, voters: 2 * alive >= voters
            ),
            "a majority of all voters, dead or alive, is enough": with_limit(
                lambda alive, voters: alive == voters
            ),
            "after the last change the clock runs on": ends_with_the_last_change,
        },
        cases=20,
    ),
}
