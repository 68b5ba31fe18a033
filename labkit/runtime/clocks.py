"""How far the clock of another host is from the driver's.

Events are stamped by the monotonic clock of the host on which they happen, which begins with its
boot: between two hosts it may differ by months. The driver asks a few times what the clock says
there; half of a question's way lies before the answer, give or take half of the whole (F. Cristian,
"Probabilistic clock synchronization", Distributed Computing 3, 1989; NTP does the same). The
quickest answer errs least. What was asked on one host always finds 0, give or take.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from labkit.events import Event
from labkit.runtime.messages import AskTime, Time

ASKED = 8
"""Times, one after the other. Clocks wander by less than 50 µs a second, which runs of the lab do
not see; a rank that comes back is asked anew."""


@dataclass(frozen=True)
class Offset:
    """A clock is `seconds` ahead of the driver's, at most `error` more or less."""

    seconds: float
    error: float

    @property
    def proven(self) -> bool:
        """Whether the two cannot be the same clock."""
        return abs(self.seconds) > self.error

    def __str__(self) -> str:
        return f"{self.seconds:+.6f} s ± {1e6 * self.error:.0f} µs"


class HostClock:
    """That of the host of one worker, `ahead` of the driver's."""

    def __init__(self) -> None:
        self.ahead: Offset | None = None
        self._asked = 0

    def ask(self, send: Callable[[AskTime], None]) -> None:
        """The next question, if there is one left; the answer to each brings the next."""
        if self._asked < ASKED:
            self._asked += 1
            send(AskTime(time.monotonic()))

    def said(self, answer: Time) -> None:
        found = offset(answer.asked, answer.there, time.monotonic())
        if self.ahead is None or found.error < self.ahead.error:
            self.ahead = found

    def ours(self, events: list[Event]) -> list[Event]:
        """With the times at which the driver's clock would have had them."""
        if self.ahead is None or not self.ahead.proven:
            return events
        ahead = self.ahead.seconds
        return [msgspec.structs.replace(event, time=event.time - ahead) for event in events]


def offset(asked: float, there: float, answered: float) -> Offset:
    """From one question: when it was asked and answered here, and what the clock said there."""
    return Offset(there - (asked + answered) / 2, (answered - asked) / 2)
