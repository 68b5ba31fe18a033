"""The single record of everything that happened: `Event` and `EventLog`.

Every process writes its own file, one JSON object per line, with one `write(2)` per event and no
buffer in between: the kernel has the line when `record` returns, so a process that is killed on the
next instruction has still said it. Times are seconds on the host's monotonic clock (never the wall
clock, which jumps); order between processes is given by a Lamport clock
(L. Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", CACM 1978).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

DRIVER = -1
"""The `rank` of events that the driver records: it is not a member of the cluster."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened in one process.

    `time` is in seconds on the host's monotonic clock, `clock` the Lamport clock, `life` the
    incarnation of the rank (0, then 1 after its first restart). The kinds, and what `data` holds:

    ========== ==============================================================================
    start      a worker is ready (pid, device, backend)
    begin, end a nested slice of one thread's time, `name` says doing what (step, bytes, …)
    send       a message left (id, peer, bytes); `receive` is its other end (same id)
    step       a training step is complete (step); `metric` a number worth a curve
    point      a named place in the code was reached
    fault      a fault was injected (fault: its plain data; ranks; seconds if it ends by itself)
    heal       the faults with this `name` (all of them, when empty) ended
    lost       this rank noticed that a peer is gone (peer, view)
    view       this rank installed a view (number, members)
    death      a process ended (signal or exit code, step), recorded by the driver
    checkpoint a checkpoint became durable (step)
    role       a node changed its role in a protocol (term)
    suspect    a failure detector suspects a node (peer); `trust` takes it back
    straggler  this rank computes `factor` times as long as the others; 1.0 when it is over
    note       a sentence for the reader
    ========== ==============================================================================
    """

    time: float
    clock: int
    rank: int
    kind: str
    name: str = ""
    life: int = 0
    data: dict[str, Any] = {}


ROOT = Path(__file__).resolve().parents[1]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


class EventLog:
    """Writes the events of one process to its file, and hands each to `stream` as it is recorded.

    Without a path nothing is written; without a stream nothing is sent. Safe to use from several
    threads. `record` costs about 5 µs with a file (one system call).
    """

    def __init__(
        self,
        rank: int = DRIVER,
        life: int = 0,
        path: str | os.PathLike[str] | None = None,
        stream: Callable[[Event], None] | None = None,
    ) -> None:
        self.rank, self.life, self.stream = rank, life, stream
        self.clock = 0
        self._lock = threading.Lock()
        self._file = -1
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o644)

    def record(self, kind: str, name: str = "", **data: Any) -> Event:
        if kind == "note":  # it is in no one's words, so that its line could not be found by them
            data["at"] = _caller()
        with self._lock:
            self.clock += 1
            event = Event(time.monotonic(), self.clock, self.rank, kind, name, self.life, data)
            if self._file >= 0:
                os.write(self._file, _encoder.encode(event) + b"\n")
            if self.stream is not None:  # inside the lock: the stream has the order of the clock
                self.stream(event)
        return event

    def witness(self, clock: int) -> None:
        """Lamport's rule for a received message: the next event comes after the sender's."""
        with self._lock:
            self.clock = max(self.clock, clock)

    def span(self, name: str, **data: Any) -> Span:
        """A slice of time: `with log.span("computing", step=3): …`."""
        return Span(self, name, data)

    def close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def _caller() -> str:
    """`labkit/training/loop.py:12`: the line that records something through this module."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    place = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return f"{place}:{frame.f_lineno}"


class Span:
    """Records `begin` on entering and `end` on leaving, also when the block raises."""

    def __init__(self, log: EventLog, name: str, data: dict[str, Any]) -> None:
        self.log, self.name, self.data = log, name, data
        self._open: list[None] = []  # or one element; `pop` lets only one thread end it

    def __enter__(self) -> Span:
        self.log.record("begin", self.name, **self.data)
        self._open.append(None)
        return self

    def end(self, **how: Any) -> None:
        """Now, if it has not ended: the block's thread may be stuck in it, and be left behind."""
        try:
            self._open.pop()
        except IndexError:
            return
        self.log.record("end", self.name, **how)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(**({} if kind is None else {"error": kind.__name__}))


# One process is one rank, so its log is global: collectives and training record without carrying a
# log through every call. In a process that is not a worker it leads nowhere.
_current = EventLog()


def use(log: EventLog) -> None:
    """Makes `log` the one that this process records to."""
    global _current
    _current = log


def current() -> EventLog:
    return _current


def record(kind: str, name: str = "", **data: Any) -> Event:
    return _current.record(kind, name, **data)


def span(name: str, **data: Any) -> Span:
    return _current.span(name, **data)


def read(path: str | os.PathLike[str]) -> list[Event]:
    """All events of a file or of every `*.jsonl` in a directory, ordered by time.

    A last line cut short by the death of its writer is left out.
    """
    path = Path(path)
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return sorted((e for f in files for e in _lines(f.read_bytes())), key=lambda e: e.time)


def _lines(text: bytes) -> Iterator[Event]:
    complete = text[: text.rfind(b"\n") + 1]
    return (_decoder.decode(line) for line in complete.splitlines())


def write(path: str | os.PathLike[str], events: Iterable[Event]) -> None:
    """Writes events as JSON Lines, the format that `read` reads."""
    Path(path).write_bytes(b"".join(_encoder.encode(e) + b"\n" for e in events))
