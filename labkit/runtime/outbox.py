"""What leaves for one peer, as slowly and as incompletely as the faults on that link say."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from labkit import faults
from labkit.runtime.loop import Loop, Timer


class Outbox:
    """First in, first out. Belongs to the host's thread.

    The store needs a reliable channel: what a fault drops is sent again, and what is cut off waits
    until the link heals, as with TCP. Messages between functions, and between the nodes of a
    protocol, are datagrams: dropped or cut off, they are lost.
    """

    def __init__(self, loop: Loop, source: int, target: int, send: Callable[[Any], None]) -> None:
        self.loop, self.source, self.target, self.send = loop, source, target, send
        self._waiting: deque[tuple[float, Any]] = deque()
        self._timer: Timer | None = None

    def put(self, message: Any, reliable: bool = True) -> None:
        state = faults.conditions.link(self.source, self.target)
        if not (state.cut or state.delay or state.drop or self._waiting):
            return self.send(message)
        late = state.delay
        if not reliable and (state.cut or faults.conditions.random.random() < state.drop):
            return None
        while reliable and faults.conditions.random.random() < min(state.drop, 0.999):
            late += faults.RETRANSMIT
        self._waiting.append((monotonic() + late, message))
        self.flush()

    def flush(self) -> None:
        """Sends what is due, or everything once the link is healed; called again by a timer, and
        whenever a fault begins or ends."""
        state = faults.conditions.link(self.source, self.target)
        healed = not (state.cut or state.delay or state.drop)
        while self._waiting and not state.cut and (healed or self._waiting[0][0] <= monotonic()):
            self.send(self._waiting.popleft()[1])
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting and not state.cut:
            wait = self._waiting[0][0] - monotonic()
            self._timer = self.loop.call_later(max(0.0, wait), self.flush)

    def close(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
