"""Who knew what at a time: what each rank could tell from its own events, beside the truth.

No rank sees another. What it knows came in a message, or from its own clock; here, outside, all
records lie side by side, so what a rank does *not* know yet can be said as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.events import DRIVER, Event
from labkit.views.injected import deaths, injected


@dataclass
class Known:
    """What one rank knows; `lost` are the peers that it has missed since its view."""

    rank: int
    step: int | None = None
    view: int | None = None
    members: tuple[int, ...] = ()
    lost: list[int] = field(default_factory=list)
    role: str = ""
    told: list[int] = field(default_factory=list)  # deaths, of the driver

    def hear(self, event: Event) -> None:
        data = event.data
        match event.kind:
            case "start":
                self.step, self.view, self.members, self.lost = None, None, (), []
            case "step":
                self.step = data["step"]
            case "view":
                self.view, self.members, self.lost = data["number"], tuple(data["members"]), []
            case "lost" | "suspect" if data.get("peer") not in self.lost:
                self.lost.append(int(data["peer"]))
            case "trust" if data.get("peer") in self.lost:
                self.lost.remove(int(data["peer"]))
            case "role":
                self.role = event.name
            case "death":
                self.told.append(int(data.get("rank", event.rank)))


def known_at(
    events: Iterable[Event], time: float, view: int | None = None, members: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """A row for each rank of the events, and one for the driver, at `time` on the events' own
    clock: `rank`, `state`, `step`, `view`, and in words what it knows and what it cannot know yet.
    The `members` of the `view` in which the run began knew it from its beginning."""
    before = sorted((e for e in events if e.time <= time), key=lambda e: (e.time, e.clock))
    known = {rank: Known(rank) for rank in {DRIVER, *members, *(e.rank for e in events)}}
    for rank in members:
        known[rank].view, known[rank].members = view, tuple(members)
    words: dict[int, list[Event]] = {}
    for event in before:
        known[event.rank].hear(event)
        if event.rank != DRIVER and event.kind not in ("fault", "death", "heal"):
            words.setdefault(event.rank, []).append(event)
    struck = injected(_of(before, "fault"), _of(before, "heal"), time, _of(before, "start"))
    ends = {d.rank: d.time for d in deaths(_of(events, "death"), struck, words)}
    ends |= {f.ranks[0]: f.begin for f in struck if f.kind == "Kill"}
    dead = {rank for rank, end in ends.items() if end <= time and not _lives(words, rank, end)}
    paused = {f.ranks[0] for f in struck if f.kind == "Pause" and f.end >= time}
    order = sorted(known, key=lambda rank: (rank == DRIVER, rank))
    return [_row(known[rank], dead, paused) for rank in order]


def _of(events: Iterable[Event], kind: str) -> list[Event]:
    return [event for event in events if event.kind == kind]


def _lives(words: dict[int, list[Event]], rank: int, since: float) -> bool:
    """Whether a new life of the rank has begun."""
    return any(e.kind == "start" and e.time > since for e in words.get(rank, []))


def _row(at: Known, dead: set[int], paused: set[int]) -> dict[str, Any]:
    state = "dead" if at.rank in dead else "paused" if at.rank in paused else "ready"
    said = [] if at.rank in dead else list(_sentences(at, dead))
    return {
        "rank": at.rank,
        "state": state,
        "alive": at.rank not in dead,
        "step": at.step,
        "view": None if at.view is None else f"{at.view} {{{','.join(map(str, at.members))}}}",
        "knows": "; ".join(said),
    }


def _sentences(at: Known, dead: set[int]) -> Iterable[str]:
    if at.rank == DRIVER:
        if at.told:
            yield f"has been told of the death of {_ranks(sorted(set(at.told)))}"
        return
    if at.role:
        yield at.role
    gone = [rank for rank in at.lost if rank in dead]
    wrong = [rank for rank in at.lost if rank not in dead]
    if gone:
        yield f"has missed {_ranks(gone)}"
    if wrong:
        yield f"takes {_ranks(wrong)} for dead, wrongly"
    late = sorted(rank for rank in dead if rank in at.members and rank not in at.lost)
    if late:
        yield f"does not know that {_ranks(late)} is dead"


def _ranks(ranks: list[int]) -> str:
    return f"rank {' and '.join(map(str, ranks))}"
