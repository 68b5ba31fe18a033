"""What the events of a run say, as a picture needs it: slices, faults, deaths, messages, marks.

Pure functions from a list of `Event` to plain data, in seconds since the run's first event. Nothing
here knows of pixels or colours, and the same data is drawn by the timeline at every scale.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from labkit.events import DRIVER, Event
from labkit.views.injected import Death, Injected, deaths, injected, parts, plain
from labkit.views.slices import Absence, Slice, Times, slices
from labkit.views.style import activity


@dataclass(frozen=True)
class Message:
    """`received` is None when it never arrived."""

    source: int
    target: int
    sent: float
    received: float | None
    name: str


@dataclass(frozen=True)
class Mark:
    """A moment of one rank: a step, a view, a checkpoint, a loss noticed, a note."""

    rank: int
    time: float
    name: str
    data: Mapping[str, Any]


@dataclass
class History:
    """A run, ready to draw. Times are seconds since `origin`, the first event's own time."""

    origin: float = 0.0
    end: float = 0.0
    ranks: list[int] = field(default_factory=list)
    witnesses: set[int] = field(default_factory=set)
    slices: dict[int, list[Slice]] = field(default_factory=dict)
    faults: list[Injected] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    lives: dict[int, Times] = field(default_factory=dict)
    pauses: dict[int, Times] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    marks: dict[str, list[Mark]] = field(default_factory=dict)

    @property
    def steps(self) -> list[Mark]:
        return self.marks["step"]

    @property
    def views(self) -> list[Mark]:
        return self.marks["view"]

    @property
    def trainers(self) -> list[int]:
        return [r for r in self.ranks if r not in self.witnesses]


RECOVERING = ("restoring", "forming group", "agreeing")
MARKS = ("step", "view", "checkpoint", "lost", "note")


def history(events: Iterable[Event], counts: Callable[[Event], bool] | None = None) -> History:
    """Reads the events of one run, in any order; `counts` says which `step` events count."""
    ordered = sorted(events, key=lambda e: (e.time, e.clock))
    origin = ordered[0].time if ordered else 0.0
    kinds: dict[str, list[Event]] = defaultdict(list)
    words: dict[int, list[Event]] = defaultdict(list)  # what each process said itself
    for event in ordered:
        if event.kind == "step" and counts is not None and not counts(event):
            continue
        moved = msgspec.structs.replace(event, time=event.time - origin)
        kinds[event.kind].append(moved)
        if event.rank != DRIVER and event.kind not in ("fault", "death", "heal"):
            words[event.rank].append(moved)
    past = History(origin, ordered[-1].time - origin if ordered else 0.0)
    past.faults = injected(kinds["fault"], kinds["heal"], past.end, kinds["start"])
    past.deaths = deaths(kinds["death"], past.faults, words)
    past.marks = {k: [Mark(e.rank, e.time, e.name, e.data) for e in kinds[k]] for k in MARKS}
    past.messages = _messages(kinds["send"], kinds["receive"])
    _people(past, kinds["start"], words)
    for rank in past.ranks:
        spans = [e for e in words[rank] if e.kind in ("begin", "end")]
        absences, again = _absences(rank, past), _again(rank, past, spans)
        past.slices[rank] = slices(rank, spans, past.lives[rank], absences, again)
    return past


def _people(past: History, starts: list[Event], words: dict[int, list[Event]]) -> None:
    """Who took part: every rank that said something, died, or was a member of a view."""
    past.witnesses = {e.rank for e in starts if "witness" in (e.name, e.data.get("role"))}
    ranks = set(words) | {d.rank for d in past.deaths}
    ranks |= {m for v in past.views for m in v.data.get("members", ())}
    past.ranks = sorted((r for r in ranks if r >= 0), key=lambda r: (r in past.witnesses, r))
    for rank in past.ranks:
        past.lives[rank] = _lives(rank, words[rank], past)
        past.pauses[rank] = [
            (f.begin, f.end) for f in past.faults if f.kind == "Pause" and rank in f.ranks
        ]


def _lives(rank: int, words: list[Event], past: History) -> Times:
    """When this rank had a process: from its first word to its death, once for each life."""
    lives = []
    begin = min((e.time for e in words), default=0.0)
    for death in sorted(d.time for d in past.deaths if d.rank == rank):
        lives.append((begin, death))
        begin = min((e.time for e in words if e.time > death), default=math.inf)
    return lives if begin == math.inf else [*lives, (begin, past.end)]


def _messages(sends: list[Event], receives: list[Event]) -> list[Message]:
    arrived = {e.data.get("id"): e for e in receives}
    found = []
    for event in sends:
        other = arrived.get(event.data.get("id"))
        target = other.rank if other else int(event.data.get("peer", DRIVER))
        received = other.time if other else None
        found.append(Message(event.rank, target, event.time, received, event.name))
    return found


def _absences(rank: int, past: History) -> list[Absence]:
    """When a peer was dead, stopped or cut off, and `rank` had no view yet that says so."""
    views = [v for v in past.views if v.rank == rank]
    gone: list[Absence] = []
    for peer in past.trainers:
        if peer == rank:
            continue
        births = [begin for begin, _ in past.lives[peer]]
        moments = [(begin, end, False) for begin, end in past.pauses[peer]]
        cuts = [f for f in past.faults if parts(plain(f.event), rank, peer)]
        moments += [(f.begin, f.end, False) for f in cuts]
        for time in (d.time for d in past.deaths if d.rank == peer):
            moments.append((time, min((b for b in births if b > time), default=math.inf), True))
        gone += [
            Absence(a, min([b, *(v.time for v in views if v.time > a)]), dead)
            for a, b, dead in moments
            if _counts_on(peer, views, a)
        ]
    return gone


def _counts_on(peer: int, views: list[Mark], time: float) -> bool:
    """Whether the view in force then has the peer in it; without any view everybody counts."""
    before = [v for v in views if v.time <= time]
    return not before or peer in before[-1].data.get("members", (peer,))


def _again(rank: int, past: History, spans: list[Event]) -> Times:
    """The times in which `rank` worked on a step that it had reported before.

    Work begins after the step before it, or after a recovery: a view, a group, a restored state.
    """
    fresh = [v.time for v in past.views if v.rank == rank]
    fresh += [e.time for e in spans if e.kind == "end" and activity(e.name) in RECOVERING]
    fresh.sort()
    seen: set[object] = set()
    found, before = [], 0.0
    for mark in past.steps:
        if mark.rank == rank:
            step = mark.data.get("step")
            if step in seen:
                recovered = bisect_left(fresh, mark.time)
                begin = max(before, fresh[recovered - 1]) if recovered else before
                found.append((begin, mark.time))
            seen.add(step)
            before = mark.time
    return found
