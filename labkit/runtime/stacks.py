"""`cluster.stacks()`: what every rank is doing now, as a table, and what they say together.

A host tells it (`inspect.py`). Where the interpreter's lock is held nobody can: then `faulthandler`
writes the stacks into a file from its signal handler, which needs no lock.
"""

from __future__ import annotations

import signal
import time
from html import escape
from typing import TYPE_CHECKING, Any

from labkit.flight import Record
from labkit.runtime.diagnosis import diagnose
from labkit.runtime.inspect import ANSWER_SECONDS, dump_file
from labkit.runtime.messages import Inspect
from labkit.views.status import StatusTable

if TYPE_CHECKING:
    from labkit.runtime.driver import Driver
    from labkit.runtime.seat import Seat

DUMP_SECONDS = 2.0
TICK = 0.05


class Stacks(StatusTable):
    """Shows itself as a table. `records` and `dumps` (whole stacks, as text) are by rank;
    `verdict` says who keeps whom waiting."""

    def __init__(self, records: dict[int, Record], dumps: dict[int, str]) -> None:
        self.records, self.dumps = records, dumps
        busy = next((r for r in records.values() if not r.over), None)
        self.verdict = diagnose(records, sorted(dumps), busy.group) if busy else "no function runs"
        super().__init__([_row(rank, records.get(rank), text) for rank, text in dumps.items()])

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.verdict}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"{super()._repr_html_()}<p>{escape(self.verdict)}</p>"


def stacks(driver: Driver) -> Stacks:
    """Asks all living ranks, and signals those that do not answer. Any thread but the loop's."""
    seats = [seat for seat in driver.seats.values() if seat.state != "dead" and not seat.witness]
    for seat in seats:
        seat.record = None
    driver.loop.call(lambda: driver.broadcast(Inspect(), tuple(s.rank for s in seats)))
    with driver.changed:
        driver.changed.wait_for(lambda: all(s.record for s in seats), ANSWER_SECONDS)
    records = {seat.rank: seat.record for seat in seats if seat.record is not None}
    dumps = {s.rank: s.record.stacks if s.record else _dump(driver, s) for s in seats}
    return Stacks(records, dumps)


class Dump:
    """What `faulthandler` writes of a process that cannot answer, from the moment it is asked to.
    Of one that is paused, or was stopped, that is nothing."""

    def __init__(self, driver: Driver, seat: Seat) -> None:
        self.path = dump_file(driver.folder, seat.rank, seat.life)
        self.before = self.size()
        with driver.changed:
            if seat.state != "paused":
                seat.send(signal.SIGUSR1)

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def text(self) -> str:
        new = self.path.read_bytes()[self.before :] if self.size() > self.before else b""
        return new.decode(errors="replace")


def standstill(dump: str) -> str:
    """What a process is at that does not answer, by its dump: the thread in which the signal's
    handler ran comes last of all, and is called the current one."""
    *_, current = dump.split("Current thread ")
    lines = [line.strip() for line in current.splitlines() if line.startswith("  File")]
    return f"holds the interpreter's lock: {lines[0]}" if lines else "no answer: stands still"


def _dump(driver: Driver, seat: Seat) -> str:
    """All of it, once it grows no more."""
    dump = Dump(driver, seat)
    size, end = dump.before, time.monotonic() + DUMP_SECONDS
    while seat.state != "paused" and time.monotonic() < end:
        time.sleep(TICK)
        now = dump.size()
        if now == size > dump.before:
            break
        size = now
    return dump.text


def _row(rank: int, record: Record | None, dump: str) -> dict[str, Any]:
    if record is None:
        return {"rank": rank, "collective": None, "at": standstill(dump)}
    call = next((c for c in record.calls if c.state in ("queued", "started")), None)
    return {
        "rank": rank,
        "step": record.step,
        "idle": f"{record.idle:.1f} s",
        "collective": f"{call.number} {call.what}" if call and not record.over else None,
        "at": "its function is over" if record.over else str(record.threads.get("main", "")),
    }
