"""The steps that count, and how many there would have been without faults.

A step counts from the moment at which its last member finished it for the last time: work that was
thrown away and done again counts once, when it was done again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median

from labkit.views.history import History


@dataclass(frozen=True)
class Counted:
    """`times[i]` is when step i + 1 came to count; `pace` the seconds a step takes untroubled."""

    times: list[float]
    begin: float
    end: float
    pace: float

    @property
    def without_faults(self) -> float:
        """Steps that would have been made from `begin` to `end`."""
        return (self.end - self.begin) / self.pace

    @property
    def goodput(self) -> float:
        """At most 1: a run whose last steps happened to be quick has lost nothing."""
        return min(1.0, len(self.times) / self.without_faults)


def counted(past: History, troubles: list[tuple[float, float]]) -> Counted | None:
    """`troubles` are the times in which a fault slowed the run; None with under three steps."""
    last: dict[int, float] = {}
    for mark in past.steps:
        last[int(mark.data["step"])] = mark.time  # in order of time: the last report stays
    times = sorted(last.values())
    if len(times) < 3:
        return None
    pace = _pace(times, troubles)
    # A kill in the last step counts, too: the others may complete that step a moment after it.
    stuck = any(begin > times[-1] - pace and end >= past.end for begin, end in troubles)
    return Counted(times, times[0] - pace, past.end if stuck else times[-1], pace)


def _pace(times: list[float], troubles: list[tuple[float, float]]) -> float:
    """Mean seconds between the steps that no trouble touched; the first one warms up.

    Or of those before the first trouble, where they were quicker: with fewer ranks than at first
    every step may take longer, and that is a loss too.
    """
    pairs = list(pairwise(times))
    if not troubles:
        return mean(b - a for a, b in pairs)
    calm = [
        (a, b) for a, b in pairs[1:] if not any(a < end and begin < b for begin, end in troubles)
    ]
    if not calm:
        return median(b - a for a, b in pairs)
    first = min(begin for begin, _ in troubles)
    before = [b - a for a, b in calm if b <= first]
    pace = mean(b - a for a, b in calm)
    return min(pace, mean(before)) if len(before) >= 3 else pace
