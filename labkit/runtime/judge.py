"""What has become of a rank that the others have left out of their view: it may be cut off from
them alone, hang, or be lost with its machine. The driver asks it, and judges by its silence."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.runtime.inspect import ANSWER_SECONDS
from labkit.runtime.messages import Ping
from labkit.runtime.seat import Seat
from labkit.runtime.stacks import Dump, standstill
from labkit.view import View

if TYPE_CHECKING:
    from labkit.runtime.driver import Driver

EXIT_SECONDS = 2.0
"""Within which a process that has to end does so, and one that is alive answers."""
SHOW_SECONDS = 0.2
"""For `faulthandler`, whose signal handler needs nobody's lock."""


class Judge:
    """Of the seats of `driver`. `lose(seat)` buries one that is lost with its host; where ranks are
    replaced (`replaces`), one that hangs is killed, so that it can be."""

    def __init__(self, driver: Driver, lose: Callable[[Seat], None], replaces: bool) -> None:
        self.driver, self.lose, self.replaces = driver, lose, replaces

    def heed(self, view: View) -> None:
        """A view that others have installed."""
        for seat in list(self.driver.seats.values()):
            if 0 < seat.view.number < view.number and seat.rank not in view.members:
                self._look_for(seat)

    def _look_for(self, seat: Seat) -> None:
        """Of a host in a namespace it is known whether its cable is out. Others are asked, for the
        rank may be cut off from its peers alone, and then it waits. Who does not answer is lost
        with its machine; or it hangs on this one, and is ended where the launcher replaces it."""
        driver, connection = self.driver, seat.connection
        if driver.links is not None:
            if driver.links.is_down(seat):
                self.lose(seat)
        elif seat.state == "ready" and connection:
            asked = time.monotonic()
            connection.send(Ping())
            here = driver.launcher.here(seat.host)

            def judge() -> None:
                if seat.heard > asked or seat.state != "ready":
                    return
                if here:
                    self._end_hung(seat)
                else:
                    driver.launcher.lost(seat.host)
                    self.lose(seat)

            silence = driver.silence or EXIT_SECONDS
            driver.loop.call_later(max(silence, ANSWER_SECONDS) if here else silence, judge)

    def _end_hung(self, seat: Seat) -> None:
        """Where an elastic run may have another life of it. Before that it is to show the line at
        which it holds the interpreter's lock."""
        driver = self.driver
        if driver.elastic_run is None or not self.replaces or seat.witness:
            return
        dump = Dump(driver, seat)

        def end() -> None:
            if seat.state == "ready" and not seat.killed:  # each word of the view had one asked
                why = f"{seat.name} is out of the view and hangs: {standstill(dump.text)}"
                driver.log.record("note", why)
                driver.console.take(seat.rank, why)
                with driver.changed:
                    seat.send(signal.SIGKILL)

        driver.loop.call_later(SHOW_SECONDS, end)
