"""Events as Chrome trace JSON, for chrome://tracing and https://ui.perfetto.dev.

A rank is a process; the slices of each of its threads nest, also in the file, where `E` closes the
last `B` of its thread; a message is a flow from a short slice to another. Times are microseconds
since the first event; the Lamport clock is in the arguments. The format is described in "Trace
Event Format" (Google, 2016).
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from labkit.events import DRIVER, Event
from labkit.views.history import history
from labkit.views.injected import fault_name
from labkit.views.slices import Times

DRIVER_PID = 1_000_000
"""The driver's place: pids in a trace must not be negative, and it stands below the ranks."""
MESSAGES_TID, LIFE_TIDS = 99, 100
"""Thread ids: slices of the first life from 1, of the next from 101; messages have their own."""

INSTANTS = {
    "start",
    "step",
    "point",
    "fault",
    "heal",
    "lost",
    "view",
    "death",
    "checkpoint",
    "note",
}

Record = dict[str, Any]


def write_chrome_trace(path: str | os.PathLike[str], events: Iterable[Event]) -> None:
    trace = msgspec.to_builtins(chrome_trace(events))
    Path(path).write_text(json.dumps(trace), encoding="utf-8")


def chrome_trace(events: Iterable[Event]) -> dict[str, Any]:
    """The whole trace as plain data. An open slice of a killed rank is closed at its death."""
    ordered = sorted(events, key=lambda e: (e.time, e.clock))
    past = history(ordered)
    by_rank: dict[int, list[Event]] = defaultdict(list)
    for event in ordered:
        by_rank[event.rank].append(event)
    records: list[Record] = []
    threads: dict[tuple[int, int], str] = {}
    for rank, mine in by_rank.items():
        lives = past.lives.get(rank, [(0.0, past.end)])
        for tid, name, spans in nested(paired(mine, past.origin, lives)):
            threads[_pid(rank), tid] = name
            records += begin_end(_pid(rank), tid, spans)
        if any(e.kind in ("send", "receive") for e in mine):
            threads[_pid(rank), MESSAGES_TID] = "messages"
    records += [r for e in ordered for r in _point(e, past.origin)]
    records += _flows(ordered, past.origin)
    names = list(_names(sorted(by_rank), threads))
    return {"traceEvents": names + records, "displayTimeUnit": "ms"}


def _pid(rank: int) -> int:
    return DRIVER_PID if rank == DRIVER else rank


def _micro(seconds: float) -> float:
    return round(seconds * 1e6, 3)


# ---- slices ------------------------------------------------------------------------------------


@dataclass
class Open:
    """A `begin` with its `end`, or with the death of its process."""

    event: Event
    life: int
    begin: float
    end: float
    ended: dict[str, Any] = field(default_factory=dict)


def paired(mine: list[Event], origin: float, lives: Times) -> list[Open]:
    """The slices of one rank, by begin. An `end` closes the last open slice with its name."""
    spans: list[Open] = []
    for life, (born, died) in enumerate(lives):
        waiting: list[Open] = []
        here = [e for e in mine if born <= e.time - origin <= died]
        for event in (e for e in here if e.kind in ("begin", "end")):
            if event.kind == "begin":
                waiting.append(Open(event, life, event.time - origin, died))
                spans.append(waiting[-1])
                continue
            match = next((s for s in reversed(waiting) if s.event.name == event.name), None)
            if match is not None:
                waiting.remove(match)
                match.end, match.ended = event.time - origin, event.data
    return spans


def nested(spans: list[Open]) -> list[tuple[int, str, list[Open]]]:
    """Threads in which every slice lies inside the one before it or after it: id, name, slices.

    Slices that a single thread could not have had go to a second row of it.
    """
    rows: dict[tuple[int, str, int], list[Open]] = {}
    stacks: dict[tuple[int, str, int], list[float]] = {}
    for span in spans:
        row, key = 0, (span.life, str(span.event.data.get("thread", "main")))
        while True:
            stack = stacks.setdefault((*key, row), [])
            while stack and stack[-1] <= span.begin:
                stack.pop()
            if not stack or span.end <= stack[-1]:
                break
            row += 1
        stack.append(span.end)
        rows.setdefault((*key, row), []).append(span)
    found = []
    for i, ((life, thread, row), members) in enumerate(rows.items()):
        name = thread + (f" ({row + 1})" if row else "") + (f", life {life}" if life else "")
        found.append((LIFE_TIDS * life + i % (MESSAGES_TID - 1) + 1, name, members))
    return found


def begin_end(pid: int, tid: int, spans: list[Open]) -> Iterator[Record]:
    """`B` and `E` of one row, every `E` for the last open `B`."""
    stack: list[Open] = []

    def close() -> Record:
        span = stack.pop()
        return {"ph": "E", "pid": pid, "tid": tid, "ts": _micro(span.end), "args": span.ended}

    for span in spans:
        while stack and stack[-1].end <= span.begin:
            yield close()
        stack.append(span)
        name, args = span.event.name, {**span.event.data, "clock": span.event.clock}
        here = {"pid": pid, "tid": tid, "ts": _micro(span.begin)}
        yield {"ph": "B", "name": name, "cat": "slice", **here, "args": args}
    while stack:
        yield close()


# ---- everything else ---------------------------------------------------------------------------


def _point(event: Event, origin: float) -> Iterator[Record]:
    """Moments and numbers; a fault is drawn through all processes."""
    pid = _pid(int(event.data.get("rank", event.rank)))
    here = {"pid": pid, "tid": 0, "ts": _micro(event.time - origin)}
    args = {**msgspec.to_builtins(event.data), "clock": event.clock}
    if event.kind == "metric":
        yield {"ph": "C", "name": event.name, **here, "args": {"value": event.data.get("value")}}
    elif event.kind in INSTANTS:
        name = fault_name(event) if event.kind == "fault" else f"{event.kind} {event.name}".strip()
        scope = "g" if event.kind in ("fault", "heal") else "p"
        yield {"ph": "i", "name": name, "cat": event.kind, "s": scope, **here, "args": args}


def _flows(events: list[Event], origin: float) -> Iterator[Record]:
    """A flow starts and ends inside slices: each message has a short one at either end."""
    sent = {e.data.get("id"): e for e in events if e.kind == "send"}
    received = {e.data.get("id") for e in events if e.kind == "receive"}
    for event in events:
        if event.kind not in ("send", "receive"):
            continue
        id = event.data.get("id")
        first = sent.get(id, event)
        name = first.name or "message"
        here = {"pid": _pid(event.rank), "tid": MESSAGES_TID, "ts": _micro(event.time - origin)}
        args = {**event.data, "clock": event.clock}
        yield {"ph": "X", "name": f"{event.kind} {name}", "dur": 1.0, **here, "args": args}
        flow = {"name": name, "cat": "message", "id": str(id), **here}
        if event.kind == "send" and id in received:
            yield {"ph": "s", **flow}
        elif event.kind == "receive" and id in sent:
            yield {"ph": "f", "bp": "e", **flow}


def _names(ranks: list[int], threads: dict[tuple[int, int], str]) -> Iterator[Record]:
    for rank in ranks:
        name = "driver" if rank == DRIVER else f"rank {rank}"
        yield _meta("process_name", _pid(rank), 0, name=name)
        yield _meta("process_sort_index", _pid(rank), 0, sort_index=_pid(rank))
    for (pid, tid), name in threads.items():
        yield _meta("thread_name", pid, tid, name=name)


def _meta(what: str, pid: int, tid: int, **args: Any) -> Record:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args}
