"""Stragglers: ranks that compute more slowly than the others, found by the time that they take.

In a synchronous step all wait for the slowest, so the length of a *step* says nothing about who it
was: what is compared is the time that each rank computes, its median over some steps. All know
all of them, and find the same.

A rank is measured against the others, by median and median absolute deviation, which one slow rank
cannot move (B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers", 1993: flag a modified
z-score above 3.5). It must be slow in the median of several steps, and by enough to matter.

Whether the others should go on without it is arithmetic: with one that takes s times as long a step
takes s times as long, and without it, of n, n/(n-1) times. So it pays to leave it behind when s is
more than that, and stays so: what passes by itself is not worth a new view.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit import events

if TYPE_CHECKING:
    from labkit.collectives.group import Group

SCORE = 3.5
FACTOR = 1.5
"""Half as slow again: less is the usual difference between machines."""
LOOKS = 3
"""In a row in which a rank must be slow before it is left behind."""
STEPS = 8
"""Steps of which the median counts: one pause of the garbage collector is no straggler."""
NOISE = 0.05
"""Share of the median that is always taken for noise: equal times have no deviation at all."""


def score(time: float, others: Sequence[float]) -> float:
    """How far `time` lies above the median of `others`, in robust standard deviations."""
    middle = statistics.median(others)
    deviation = 1.4826 * statistics.median(abs(other - middle) for other in others)
    return (time - middle) / max(deviation, NOISE * middle, 1e-9)


class Stragglers:
    """Of one group. Its members tell each other every `STEPS` steps, in the tail of the next one's
    gradient: a collective of their own would cost each step 2 to 4 % of its time."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.tells = 0  # microseconds, with the next step; 0 when nothing is to be told
        self.slow: dict[int, float] = {}  # place: how many times as long as the others
        self.looks: dict[int, int] = {}  # place: how often in a row

    def watch(self, place: int, step: int, seconds: float, told: Sequence[float]) -> None:
        """After each step, with the time that the rank at this place computed, and what all have
        told in it. Each rank says of itself when it begins or ceases to be a straggler."""
        if any(told):
            factor = self.judge([microseconds / 1e6 for microseconds in told]).get(place)
            if factor is not None:
                events.record("straggler", factor=round(factor, 2))
        self.times.append(seconds)
        self.tells = 0
        if step % STEPS == 0:
            self.tells = round(1e6 * statistics.median(self.times))
            self.times.clear()

    def judge(self, times: Sequence[float]) -> dict[int, float]:
        """The places whose state changed, and their factors; 1.0 for one that is as fast as the
        others again."""
        before, self.slow = self.slow, {}
        for place, time in enumerate(times if len(times) > 1 else ()):
            others = [*times[:place], *times[place + 1 :]]
            factor = time / max(statistics.median(others), 1e-9)
            if factor > FACTOR and score(time, others) > SCORE:
                self.slow[place] = factor
        self.looks = {place: 1 + self.looks.get(place, 0) for place in self.slow}
        over = {place: 1.0 for place in before if place not in self.slow}
        return over | {place: f for place, f in self.slow.items() if place not in before}

    def left_behind(self, group: Group, minimum: int) -> bool:
        """Whether this rank should leave the group: it is the slowest of those that have been slow
        for long enough, the others are faster without it, and more than `minimum` ranks are there.
        One goes at a time, and all find the same."""
        if group.size <= max(minimum, 1):
            return False
        pays = group.size / (group.size - 1)
        due = [p for p, looks in self.looks.items() if looks >= LOOKS and self.slow[p] > pays]
        return group.rank == max(due, key=lambda place: self.slow[place], default=None)
