"""Hot spares: processes that have started and warmed up, and wait for a seat.

Starting a process, importing torch and the first step of training take a second or more; a rank
that dies is back sooner when all of that has been done before. A spare belongs to no view and knows
no rank: it has a connection to the driver and nothing else, until it is welcomed as the next life
of a rank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.runtime import wire
from labkit.runtime.launch.process import Process
from labkit.runtime.messages import Hello, Shutdown

if TYPE_CHECKING:
    from labkit.runtime.driver import Driver

RESTOCK_SECONDS = 1.0
"""Until another takes the place of one that is seated, or has died: what it does to warm up would
slow down the ranks while they recover."""
FAILURES = 3
"""So many may die before they are seated. There is a reason for it then, and no use in more."""


@dataclass
class Spare:
    """`number` is below 0: the rank that the process calls itself until it is seated."""

    number: int
    process: Process
    connection: wire.Connection | None = None
    hello: Hello | None = None  # once it is warm


class Spares:
    """`wanted` of them, as far as they live. `start(number)` starts a process. All but `wait`
    and `waiting` belongs to the driver's loop."""

    def __init__(self, driver: Driver, wanted: int, start: Callable[[int], Process]) -> None:
        self.driver, self.wanted, self.start = driver, wanted, start
        self.failures = 0
        self._started = 0
        self._spares: dict[int, Spare] = {}

    def waiting(self) -> list[Spare]:
        """Those that are warm."""
        with self.driver.changed:
            return [spare for spare in self._spares.values() if spare.hello is not None]

    def wait(self, seconds: float) -> None:
        """Until all are warm that are to be expected."""

        def settled() -> bool:
            there = list(self._spares.values())
            enough = len(there) >= self.wanted or self.failures >= FAILURES
            return enough and all(spare.hello is not None for spare in there)

        with self.driver.changed:
            self.driver.changed.wait_for(settled, seconds)

    def restock(self) -> None:
        """Starts those that are missing."""
        if self.driver.closed or self.failures >= FAILURES:
            return
        while len(self._spares) < self.wanted:
            self._started += 1
            spare = Spare(-self._started, self.start(-self._started))
            with self.driver.changed:
                self._spares[spare.number] = spare

    def on_hello(self, connection: wire.Connection, hello: Hello) -> None:
        """One has warmed up."""
        spare = self._spares.get(hello.member.rank)
        if spare is None or spare.hello is not None:
            return connection.close()
        with self.driver.changed:
            spare.connection, spare.hello = connection, hello
            self.driver.changed.notify_all()

    def take(self) -> Spare | None:
        """One that is warm, if there is any, for a seat."""
        for spare in self.waiting():
            self._remove(spare.number)
            self.failures = 0
            return spare
        return None

    def lost(self, number: int) -> None:
        """It has died, or its connection is closed: another is started."""
        if number in self._spares and not self.driver.closed:
            self.failures += 1
            if self.failures == FAILURES:
                text = f"{FAILURES} spares died before they had a rank: no more are started"
                self.driver.log.record("note", text)
            self._remove(number)

    def on_close(self, connection: wire.Connection) -> None:
        for spare in self.waiting():
            if spare.connection is connection:
                self.lost(spare.number)

    def _remove(self, number: int) -> None:
        with self.driver.changed:
            del self._spares[number]
            self.driver.changed.notify_all()
        self.driver.loop.call_later(RESTOCK_SECONDS, self.restock)

    def dismiss(self) -> None:
        """The cluster is over. One that warms up will find nobody there."""
        for spare in self.waiting():
            if spare.connection is not None:
                spare.connection.send(Shutdown())
