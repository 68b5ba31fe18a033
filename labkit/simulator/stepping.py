"""A simulation by hand: one event at a time, and the fate of single messages."""

from __future__ import annotations

from heapq import heapify, heappop
from typing import Any, NamedTuple

from labkit.protocols.effects import Message
from labkit.simulator.engine import Engine


class Flying(NamedTuple):
    """A message on its way: it arrives at `due`, unless something happens to it. `number` names it,
    the same in every simulation that has come here in the same way."""

    number: int
    source: int
    target: int
    due: float
    message: Message


class Stepping(Engine):
    """An engine that can be led by the hand."""

    def due(self) -> float | None:
        """When the next thing happens, in virtual time; None when nothing will."""
        while self._queue and self._idle(*self._queue[0][:5]):
            heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def advance(self, times: int = 1) -> bool:
        """Lets the next `times` things happen: a message arrives, a timer runs out, a fault
        strikes. False when there was nothing left."""
        for _ in range(times):
            if self.due() is None:
                return False
            self.now, _, act, node, a, b = heappop(self._queue)
            act(node, a, b)
        return True

    def flying(self) -> list[Flying]:
        """The messages on their way, the next to arrive first."""
        found = [
            Flying(number, a, node.i, time, b)
            for time, number, act, node, a, b in sorted(self._queue, key=lambda entry: entry[:2])
            if act == self._deliver
        ]
        return [each for each in found if each.source != each.target]

    def drop(self, number: int) -> None:
        """The network loses this message. Raises ValueError when it is not on its way."""
        self._take(number)

    def deliver(self, number: int) -> None:
        """This message arrives now, before all others. Raises ValueError as `drop` does."""
        _, _, act, node, a, b = self._take(number)
        act(node, a, b)

    def _take(self, number: int) -> tuple[float, int, Any, Any, Any, Any]:
        for i, entry in enumerate(self._queue):
            if entry[1] == number and entry[2] == self._deliver:
                del self._queue[i]
                heapify(self._queue)
                return entry
        raise ValueError(f"message {number} is not on its way (any more): see flying()")

    def _idle(self, time: float, number: int, act: Any, node: Any, a: Any) -> bool:
        """A timer that was put off or set anew since, or whose node has died: see `_timer`."""
        if act != self._timer:
            return False
        state = node.timers.get(a)
        return state is None or state[1] != time or state[0] is None
