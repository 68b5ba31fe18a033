"""From events, as they come, to what the panel's diagram shows: activities, marks, messages.

The timeline of a finished run (`labkit.views.history`) may look at all events at once. A diagram
that runs along cannot: it keeps what each rank is doing, and forgets what it has told the browser.
Activities are told as shares of short bins, so that a thousand steps a second are no more to tell
than ten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from labkit.events import DRIVER, Event
from labkit.views.injected import cause, injected, lasts, parts, plain
from labkit.views.style import BACKGROUND, COLLECTIVES, WAITING, activity

LATE = 0.12
"""Seconds by which the diagram is behind: events of different ranks come that much out of order."""
KEPT = 4000
"""Marks that can still be asked about."""
ARROWS = 60
"""Messages that are drawn of one update; the others are counted."""

CUTS = ("Partition", "LinkDown")
"""Through which nothing passes, so that every collective that would has to wait."""

TOLD = (
    *("start", "death", "view", "checkpoint", "lost", "suspect", "role", "note"),
    *("heal", "fault", "send", "receive"),
)
"""Kinds of events besides activities and steps; a function may record others, of its own."""

word = lru_cache(1024)(activity)


@dataclass
class Lane:
    """What one rank is doing: its open spans by thread, and up to when that has been told."""

    rank: int
    since: float = 0.0
    spans: dict[str, list[str]] = field(default_factory=dict)
    members: tuple[int, ...] = ()  # of its view
    alive: bool = True
    paused: bool = False
    killed: float | None = None  # when this life was shot at
    bins: dict[int, dict[str, float]] = field(default_factory=dict)
    step: list[float] | None = None  # time and number of the last one


class Strip:
    """`take` events; `news(now)` is what the browser has not been told yet. `width` is that of a
    bin, `begin` the time that is 0 there, both in seconds; one update tells of `arrows` messages.
    """

    def __init__(
        self,
        ranks: Iterable[int],
        begin: float = 0.0,
        width: float = 0.05,
        arrows: int = ARROWS,
    ) -> None:
        self.width, self.begin, self.arrows = width, begin, arrows
        self.lanes = {rank: Lane(rank) for rank in ranks}
        self.missing: set[int] = set()  # dead or paused
        self.cuts: list[dict[str, Any]] = []  # faults in force through which nothing passes
        self.faults: deque[Event] = deque(maxlen=200)
        self.heals: deque[Event] = deque(maxlen=200)
        self.starts: deque[Event] = deque(maxlen=200)
        self.events: dict[int, Event] = {}  # by the number of their mark
        self._marks: list[dict[str, Any]] = []
        self._flying: dict[str, list[Any]] = {}
        self._arrows: list[list[Any]] = []
        self._hidden = 0
        self._numbers: set[int] = set()  # of views that have been named
        self._count = 0

    # -- what happened

    def take(self, event: Event) -> None:
        kind = event.kind
        if event.rank not in self.lanes and event.rank != DRIVER:
            return  # a spare, which has no rank yet
        if kind == "begin" or kind == "end":
            self._span(event, kind)
        elif kind == "step":
            self.lanes[event.rank].step = [self._t(event), event.data["step"]]
        elif kind in TOLD:
            getattr(self, f"_{kind}")(event)

    def _t(self, event: Event) -> float:
        return round(event.time - self.begin, 4)

    def _span(self, event: Event, kind: str) -> None:
        lane = self.lanes[event.rank]
        self._advance(lane, event.time - self.begin)
        stack = lane.spans.setdefault(str(event.data.get("thread", "")), [])
        if kind == "begin":
            stack.append(event.name)
            return
        for stack in lane.spans.values():  # `end` does not say its thread
            if event.name in stack:
                del stack[len(stack) - 1 - stack[::-1].index(event.name)]
                return

    def _start(self, event: Event) -> None:
        lane = self.lanes[event.rank]
        lane.since = event.time - self.begin
        lane.spans, lane.members, lane.killed = {}, (), None
        lane.alive, lane.paused = True, False
        self._gone(event.rank, False, event)
        self._plug_in(event.rank, event)
        self.starts.append(event)
        if event.life:
            self._mark("start", event, f"life {event.life}")

    def _death(self, event: Event) -> None:
        rank = int(event.data.get("rank", event.rank))
        lane = self.lanes[rank]
        moment = self._t(event) if lane.killed is None else lane.killed  # it did nothing since
        self._gone(rank, True, event)
        lane.alive = lane.paused = False
        lane.spans = {}
        self._mark("death", event, f"rank {rank}: {cause(event)}", rank, moment)

    def _view(self, event: Event) -> None:
        lane = self.lanes[event.rank]
        self._advance(lane, event.time - self.begin)
        lane.members = tuple(event.data["members"])
        number = event.data["number"]
        first = number not in self._numbers
        self._numbers.add(number)
        self._mark("view", event, event.name, number=number, first=first)

    def _checkpoint(self, event: Event) -> None:
        self._mark("checkpoint", event, f"checkpoint, step {event.data.get('step')}")

    def _lost(self, event: Event) -> None:
        self._mark("lost", event, f"loses rank {event.data['peer']}")

    def _suspect(self, event: Event) -> None:
        self._mark("lost", event, event.name or f"suspects rank {event.data.get('peer')}")

    def _role(self, event: Event) -> None:
        self._mark("role", event, event.name)

    def _note(self, event: Event) -> None:
        self._mark("note", event, event.name)

    def _heal(self, event: Event) -> None:
        self.heals.append(event)
        self._advance_all(event)
        self.cuts = []
        self._mark("fault", event, event.name or "heal")

    def _fault(self, event: Event) -> None:
        self.faults.append(event)
        data = plain(event)
        kind, rank = data.get("fault"), data.get("rank")
        lane = self.lanes.get(rank) if isinstance(rank, int) else None
        if lane is not None and rank is not None and lane.alive:
            stands = kind == "Pause"
            if stands or kind in ("Kill", "Restart", "Resume"):
                self._gone(rank, stands, event)
                lane.paused = stands
            if kind in ("Kill", "Restart"):
                lane.killed = self._t(event)
        if kind in CUTS:
            self._advance_all(event)
            self.cuts.append(data)
        elif kind == "LinkUp" and isinstance(rank, int):
            self._plug_in(rank, event)
        if not lasts(data):
            self._mark("fault", event, event.name, rank if rank is not None else DRIVER)

    def _plug_in(self, rank: int, event: Event) -> None:
        """Its cable is back, or its new life has another one."""
        self._advance_all(event)
        self.cuts = [c for c in self.cuts if (c["fault"], c.get("rank")) != ("LinkDown", rank)]

    def _gone(self, rank: int, gone: bool, event: Event) -> None:
        """The others miss a rank, or miss it no more."""
        self._advance_all(event)
        self.missing = self.missing | {rank} if gone else self.missing - {rank}

    def _send(self, event: Event) -> None:
        target = int(event.data.get("peer", DRIVER))
        self._flying[str(event.data["id"])] = [event.rank, target, self._t(event), event]

    def _receive(self, event: Event) -> None:
        sent = self._flying.pop(str(event.data.get("id")), None)
        if sent is None or sent[0] == event.rank:
            return
        if len(self._arrows) >= self.arrows:
            self._hidden += 1
            return
        source, _, time, begin = sent
        identity = self.remember(begin)
        self._arrows.append([identity, source, event.rank, time, self._t(event), begin.name])

    def _mark(
        self, kind: str, event: Event, label: str, lane: int | None = None,
        time: float | None = None, **more: Any,
    ) -> None:  # fmt: skip
        lane = event.rank if lane is None else lane
        time = self._t(event) if time is None else time
        identity = self.remember(event)
        self._marks.append(
            {"id": identity, "kind": kind, "lane": lane, "t": time, "label": label, **more}
        )

    def remember(self, event: Event) -> int:
        """The number by which the browser asks about it."""
        self._count += 1
        self.events[self._count] = event
        self.events.pop(self._count - KEPT, None)
        return self._count

    def in_flight(self) -> dict[str, list[Any]]:
        """Messages that have left and not arrived: source, target, time and event, by id."""
        return dict(self._flying)

    def forget(self, identity: str) -> None:
        """This message is lost."""
        del self._flying[identity]

    # -- what each is doing

    def _doing(self, lane: Lane) -> str | None:
        if lane.paused:
            return "paused"
        names = next((stack[-1] for stack in lane.spans.values() if stack), None)
        if names is None or names in BACKGROUND:
            names = next(
                (s[-1] for s in lane.spans.values() if s and s[-1] not in BACKGROUND), None
            )
            if names is None:
                return None
        doing = word(names)
        if (self.missing or self.cuts) and doing in COLLECTIVES and self._misses(lane):
            return WAITING
        return doing

    def _misses(self, lane: Lane) -> bool:
        members = lane.members or self.lanes
        return any(rank in self.missing for rank in members) or any(
            parts(cut, lane.rank, rank) for cut in self.cuts for rank in members
        )

    def _advance_all(self, event: Event) -> None:
        """Up to here they did what they have been doing."""
        for lane in self.lanes.values():
            self._advance(lane, event.time - self.begin)

    def _advance(self, lane: Lane, time: float) -> None:
        """What it has been doing since it was last told goes into the bins."""
        since = lane.since
        if time <= since:
            return
        lane.since = time
        doing = self._doing(lane) if lane.alive else None
        if doing is None:
            return
        width, bins = self.width, lane.bins
        first, last = int(since / width), int(time / width)
        for i in range(first, last + 1):
            low, high = max(since, i * width), min(time, (i + 1) * width)
            if high > low:
                shares = bins.setdefault(i, {})
                shares[doing] = shares.get(doing, 0.0) + high - low

    # -- what is new

    def news(self, now: float, late: float = LATE) -> dict[str, Any]:
        """Everything since the last call, as plain data: `now` is on the events' clock."""
        horizon = now - self.begin - late
        bins, steps = [], []
        for rank, lane in self.lanes.items():
            self._advance(lane, horizon)
            bins += [
                [rank, i, [[name, round(t / self.width, 3)] for name, t in shares.items()]]
                for i, shares in lane.bins.items()
            ]
            last = int(horizon / self.width)  # this one goes on
            lane.bins = {i: shares for i, shares in lane.bins.items() if i >= last}
            if lane.step is not None:
                steps.append([rank, *lane.step])
                lane.step = None
        frame = {"now": round(now - self.begin, 4), "bins": bins, "steps": steps}
        frame |= {"marks": self._marks, "arrows": self._arrows, "hidden": self._hidden}
        frame["bands"] = self.bands(now)
        self._marks, self._arrows, self._hidden = [], [], 0
        return {key: value for key, value in frame.items() if value or key in ("now", "bands")}

    def bands(self, now: float) -> list[dict[str, Any]]:
        """The faults that last or have lasted, each with its ranks and its end, if it has one."""
        lasting = injected(list(self.faults), list(self.heals), now, self.starts)
        return [
            {
                "label": band.name,
                "ranks": list(band.ranks),
                "begin": round(band.begin - self.begin, 3),
                "end": None if band.end >= now else round(band.end - self.begin, 3),
            }
            for band in lasting
            if lasts(plain(band.event))
        ]
