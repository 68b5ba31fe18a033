"""A worker's line to its driver: events on their way, and messages behind them."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

from labkit.events import Event
from labkit.runtime import wire
from labkit.runtime.loop import Loop, Timer
from labkit.runtime.messages import Happened

FLUSH_SECONDS = 0.06
"""How long events wait for company on their way to the driver; on the disk they are at once. A
little more than a heartbeat of 50 ms, with whose timer they go then: to wake costs the thread more
than to send."""


class Line:
    """`connection` is opened by the host, on whose loop this works; then `begin` is called."""

    connection: wire.Connection
    _timer: Timer

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._unsent: deque[Event] = deque()

    def begin(self) -> None:
        """From now on what happens is sent when a timer is due, of whatever else, or after
        `FLUSH_SECONDS`. The loop's thread only."""
        self._timer = self.loop.call_later(FLUSH_SECONDS, self.flush)
        self.loop.before_timers(self.flush)

    def send(self, message: Any) -> None:
        """At once. The loop's thread only."""
        self.connection.send(message)

    def tell(self, message: Any) -> None:
        """Sends after all events that were recorded before. Any thread."""
        self.loop.call_soon(self.flush)
        self.loop.call_soon(lambda: self.send(message))

    def stream(self, event: Event) -> None:
        """Takes an event on its way to the driver. Any thread: it wakes nobody."""
        self._unsent.append(event)

    def flush(self) -> None:
        """The loop's thread only."""
        batch = [self._unsent.popleft() for _ in range(len(self._unsent))]
        if batch:
            self.send(Happened(batch))
        self._timer.cancel()
        self._timer = self.loop.call_later(FLUSH_SECONDS, self.flush)


def complain(text: str) -> None:
    """Straight into the pipe to the driver: print's lock may be the main thread's."""
    os.write(2, text.encode())
