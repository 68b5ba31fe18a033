"""What a record of steps says about goodput: which of them count, and what the gaps cost."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from labkit.events import Event

TOUCHING = 1e-6
"""Seconds: steps that close to each other follow each other without a gap."""


@dataclass(frozen=True)
class Step:
    """One attempt at step `number`, by any rank, that it completed. Seconds."""

    number: int
    begin: float
    end: float


@dataclass(frozen=True)
class Costs:
    """What the simulator wants to know, measured. Seconds."""

    step: float
    """median"""
    stall: float
    """from a kill to the begin of the next step that counts: mean"""
    pause: float
    """other gaps, as a rank joins or a checkpoint is written: mean, 0 where there are none"""
    pauses: int
    """how many of them there were"""
    pause_after: float
    """from a kill to the end of the first such gap: mean"""


def completed(events: list[Event]) -> Iterator[tuple[int, int, float, float]]:
    """(rank, step, begin, end): a step begins where the last one ended, or, where the ranks have
    regrouped since, with its computation."""
    since: dict[tuple[int, int], float | None] = {}
    for event in events:
        who = event.rank, event.life
        if event.kind == "begin" and event.name in ("agreeing", "forming group"):
            since[who] = None
        elif event.kind == "begin" and event.name == "computing" and since.get(who) is None:
            since[who] = event.time
        elif event.kind == "step":
            begin = since.get(who)
            if begin is not None:
                yield event.rank, event.data["step"], begin, event.time
            since[who] = event.time


def counted(attempts: Iterable[Step]) -> list[Step]:
    """The last attempt at each step, in order of time: what was done again had been lost."""
    last: dict[int, Step] = {}
    for step in attempts:
        if step.number not in last or step.end > last[step.number].end:
            last[step.number] = step
    return sorted(last.values(), key=lambda step: step.begin)


def stretches(steps: Iterable[Step]) -> list[tuple[float, float]]:
    """The union of the steps' times, as few stretches as can be."""
    joined: list[tuple[float, float]] = []
    for step in steps:
        if joined and step.begin <= joined[-1][1] + TOUCHING:
            joined[-1] = (joined[-1][0], max(joined[-1][1], step.end))
        else:
            joined.append((step.begin, step.end))
    return joined


def share(steps: Iterable[Step], begin: float, end: float) -> float:
    """The share of the time from `begin` to `end` that lies in steps."""
    pieces = (min(b, end) - max(a, begin) for a, b in stretches(steps))
    return sum(piece for piece in pieces if piece > 0) / (end - begin)


def costs(steps: Sequence[Step], kills: Sequence[float], begin: float, end: float) -> Costs:
    """Of counted steps. Gaps before `begin` are left out; a kill after which no step came by `end`
    cost at least the time until then. Raises ValueError where there is no step or no kill."""
    if not steps or not kills:
        raise ValueError("costs are measured by steps and kills, and one of them is missing")
    gaps = [(a[1], b[0]) for a, b in itertools.pairwise(stretches(steps))]
    back = {kill: next((b for _, b in gaps if b > kill), end) for kill in kills}
    others = [(a, b) for a, b in gaps if b not in back.values() and begin <= a and b <= end]
    after = [next((b - kill for _, b in others if b > kill), None) for kill in kills]
    known = [seconds for seconds in after if seconds is not None]
    return Costs(
        step=statistics.median(step.end - step.begin for step in steps),
        stall=statistics.fmean(b - kill for kill, b in back.items()),
        pause=statistics.fmean(b - a for a, b in others) if others else 0.0,
        pauses=len(others),
        pause_after=statistics.fmean(known) if known else 0.0,
    )
