"""Faults and deaths in a run's events: what was injected, how long it lasted, who died and when."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from labkit.events import Event
from labkit.faults import Fault

MOMENTS = (
    *("Kill", "Resume", "Restart", "Heal", "Revive", "CrashAt", "DiskError", "WipeDisk"),
    *("Preempt", "PoisonGradient", "CorruptWeights", "LinkUp"),
)
"""Faults that are over when they have happened; the others last until something ends them."""


@dataclass(frozen=True)
class Injected:
    """A fault in force from `begin` to `end`; `name` as in `Kill(rank=2)`."""

    name: str
    kind: str
    ranks: tuple[int, ...]
    begin: float
    end: float
    event: Event


@dataclass(frozen=True)
class Death:
    """`event` is how the driver recorded it; `expected` if a fault was to end the process."""

    rank: int
    time: float
    cause: str
    event: Event
    expected: bool


def plain(event: Event) -> dict[str, Any]:
    """The fault of a `fault` event as plain data, however it was recorded."""
    value = event.data.get("fault", {})
    if isinstance(value, str):
        return {**event.data, "fault": value}
    return dict(value) if isinstance(value, Mapping) else dict(msgspec.to_builtins(value))


def lasts(fault: Mapping[str, Any]) -> bool:
    """Whether it goes on until something ends it. Slow by a factor of 1 is full speed again."""
    kind = fault.get("fault")
    return kind not in MOMENTS and not (kind == "Slow" and fault.get("factor") == 1.0)


def parts(fault: Mapping[str, Any], one: int, other: int) -> bool:
    """Whether nothing passes between two ranks while this fault lasts."""
    if fault.get("fault") == "LinkDown":
        return fault["rank"] in (one, other)
    if fault.get("fault") != "Partition":
        return False
    sides = [[rank in group for group in fault["groups"]] for rank in (one, other)]
    return all(map(any, sides)) and sides[0] != sides[1]


def fault_name(event: Event) -> str:
    """As the code that injects it: `Kill(rank=2)`."""
    try:
        return str(msgspec.convert(plain(event), Fault))
    except (msgspec.ValidationError, TypeError):
        return event.name or str(plain(event).get("fault", "fault"))


def injected(
    faults: list[Event], heals: list[Event], end: float, starts: Iterable[Event] = ()
) -> list[Injected]:
    """`starts` are the beginnings of lives: one ends the loss of the rank's host, as it is on
    another, or its cable is new."""
    found = []
    starts = list(starts)
    for event in faults:
        data = plain(event)
        kind, name = str(data.get("fault", "")), fault_name(event)
        ranks = tuple(event.data.get("ranks") or ([data["rank"]] if "rank" in data else ()))
        stop = event.time
        if lasts(data):
            ends = [h.time for h in heals if h.name in ("", event.name, name)]
            ends += _ended_by(kind, ranks, faults) + _by_itself(event, kind, data)
            if kind == "LinkDown":
                ends += [start.time for start in starts if start.rank in ranks]
            stop = min([t for t in ends if t > event.time], default=end)
        found.append(Injected(name, kind, ranks, event.time, min(stop, end), event))
    return found


def _by_itself(event: Event, kind: str, data: dict[str, Any]) -> list[float]:
    seconds = event.data.get("seconds") or (
        data.get("seconds") if kind in ("Pause", "HoldGIL", "LinkDown") else None
    )
    return [event.time + float(seconds)] if seconds else []


def _ended_by(kind: str, ranks: tuple[int, ...], faults: list[Event]) -> list[float]:
    """A pause ends with its rank's resumption or death, a link is down until it is up again, a
    rank is slow until it gets another speed, everything else ends when all is healed."""
    ends = []
    for other in faults:
        word, rank = (plain(other).get(key) for key in ("fault", "rank"))
        resumed = word in ("Resume", "Kill", "Restart") and rank in ranks
        up = kind == "LinkDown" and word == "LinkUp" and rank in ranks
        paced = kind == word == "Slow" and rank in ranks
        if up or paced or (kind == "Pause" and resumed) or (kind != "Pause" and word == "Heal"):
            ends.append(other.time)
    return ends


def deaths(
    records: list[Event], faults: list[Injected], words: dict[int, list[Event]]
) -> list[Death]:
    """A killed process executes nothing after the kill: it died then, not when it was reaped.

    `words` are the events that each rank recorded itself, in order of time.
    """
    found: list[Death] = []
    for event in records:
        rank = int(event.data.get("rank", event.rank))
        before = [d.time for d in found if d.rank == rank]
        since = max(before, default=-1.0)
        kills = [
            f.begin
            for f in faults
            if f.kind in ("Kill", "Restart") and rank in f.ranks and since < f.begin <= event.time
        ]
        last = max((e.time for e in words.get(rank, []) if e.time <= event.time), default=0.0)
        moment = max(kills[-1], last) if kills else event.time
        found.append(Death(rank, moment, cause(event), event, bool(kills)))
    return found


def cause(death: Event) -> str:
    """The signal's name, or the exit code."""
    value = death.data.get("signal") or death.name
    if isinstance(value, int):
        return signal.Signals(value).name
    if value:
        return str(value)
    code = next((death.data[k] for k in ("exit_code", "exit", "code") if k in death.data), None)
    return "ended" if code is None else f"exit {code}"
