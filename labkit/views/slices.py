"""What one rank was doing at each moment: nested slices flattened to the innermost one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from labkit.events import Event
from labkit.views.style import BACKGROUND, COLLECTIVES, WAITING, activity

Times = list[tuple[float, float]]


@dataclass(frozen=True)
class Absence:
    """A member was missing from `gone` to `back`, or to a view without it; for good if it died."""

    gone: float
    back: float
    dead: bool


@dataclass(frozen=True)
class Slice:
    """`rank` was doing `activity` from `begin` to `end`, and nothing nested inside it.

    `again`: on a step that it had done before. `beside`: on another thread while the main thread
    was busy, as an all-reduce that overlaps with computing.
    """

    rank: int
    activity: str
    begin: float
    end: float
    again: bool = False
    beside: bool = False


def slices(
    rank: int, events: list[Event], lives: Times, absences: list[Absence], again: Times
) -> list[Slice]:
    """The slices of one rank, from its `begin` and `end` events in order of time.

    An open slice ends with its process. `absences` are the times in which a member was missing,
    `again` those in which the rank did work again.
    """
    found: list[Slice] = []
    for born, died in lives:
        here = [e for e in events if born <= e.time <= died]
        threads = list(
            dict.fromkeys(str(e.data.get("thread", "")) for e in here if e.kind == "begin")
        )
        lanes = [list(_innermost(rank, here, thread, died)) for thread in threads]
        main = lanes[0] if lanes else []
        found += main + [part for lane in lanes[1:] for s in lane for part in _beside(s, main)]
    found = [part for s in found for part in _waiting(s, absences)]
    return [_again(s, again) for s in found]


def _innermost(rank: int, events: list[Event], thread: str, died: float) -> Iterator[Slice]:
    """At each moment the slice of this thread that was begun last and has not ended."""
    stack: list[str] = []
    since = 0.0
    for event in events:
        if event.kind == "begin" and event.data.get("thread", "") != thread:
            continue
        if event.kind == "end" and event.name not in stack:
            continue
        if stack and event.time > since and stack[-1] not in BACKGROUND:
            yield Slice(rank, activity(stack[-1]), since, event.time)
        since = event.time
        if event.kind == "begin":
            stack.append(event.name)
        else:
            del stack[len(stack) - 1 - stack[::-1].index(event.name)]
    if stack and died > since and stack[-1] not in BACKGROUND:
        yield Slice(rank, activity(stack[-1]), since, died)


def _beside(s: Slice, main: list[Slice]) -> Iterator[Slice]:
    """Cuts a slice of another thread where the main thread is idle and where it is busy."""
    at = s.begin
    for busy in main:
        low, high = max(busy.begin, s.begin), min(busy.end, s.end)
        if low < high:
            if at < low:
                yield replace(s, begin=at, end=low)
            yield replace(s, begin=low, end=high, beside=True)
            at = high
    if at < s.end:
        yield replace(s, begin=at)


def _waiting(s: Slice, absences: list[Absence]) -> Iterator[Slice]:
    """The part of a collective for which a member was missing is waiting, not communicating.

    One that waits for the dead waits to its end: nothing but leaving it is left.
    """
    if s.activity in COLLECTIVES:
        for absence in absences:
            low, high = max(absence.gone, s.begin), min(absence.back, s.end)
            if low < high:
                high = s.end if absence.dead else high
                yield from _waiting(replace(s, end=low), absences) if s.begin < low else ()
                yield replace(s, activity=WAITING, begin=low, end=high)
                yield from _waiting(replace(s, begin=high), absences) if high < s.end else ()
                return
    yield s


def _again(s: Slice, again: Times) -> Slice:
    if s.activity in COLLECTIVES or s.activity == "computing":
        middle = (s.begin + s.end) / 2
        if any(begin < middle < end for begin, end in again):
            return replace(s, again=True)
    return s
