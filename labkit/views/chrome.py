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
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.events import DRIVER, Event
from labkit.views.history import history
from labkit.views.injected import fault_name
from labkit.views.slices import Times

DRIVER_PID = 1_000_000
"""The driver's place: pids in a trace must not be negative, and it stands below the ranks."""
MESSAGES_TID, LIFE_TIDS = 99, 100
"""Thread ids: slices of the first life from 1, of the next from 101; messages have their own."""

INSTANTS = {"start", "step", "point", "fault", "heal", "lost", "view", "death", "checkpoint", "note"}

Record = dict[str, Any]


def write_chrome_trace(path: str | os.PathLike[str], events: Iterable[Event]) -> None:
    Path(path).write_text(json.dumps(chrome_trace(events)), encoding="utf-8")


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
        spans = paired(mine, past.origin, lives)
        for tid, name, found in nested(spans):
            threads[_pid(rank), tid] = name
            records += [r for span in found for r in _begin_end(rank, tid, span)]
    records += [r for e in ordered for r in _point(e, past.origin)]
    records += _flows(ordered, past.origin, threads)
    # Stable: of what happens at one moment, slices end before others begin, inner ones first.
    records.sort(key=lambda r: r["ts"])
    return {"traceEvents": _names(by_rank, threads) + records, "displayTimeUnit": "ms"}


def _pid(rank: int) -> int:
    return DRIVER_PID if rank == DRIVER else rank


def _micro(time: float, origin: float) -> float:
    return round((time - origin) * 1e6, 3)


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


def _begin_end(rank: int, tid: int, span: Open) -> list[Record]:
    raise NotImplementedError
