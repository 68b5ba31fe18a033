"""Clients of a replicated register: whom they ask, and the history that they leave for a checker.

A client has one command under way and sends it once. If no answer comes it does not know whether a
write took effect, says so in its history, and goes on: to send it again could do it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from labkit.protocols.effects import (
    CancelTimer,
    Context,
    Effects,
    Message,
    Protocol,
    Send,
    SetTimer,
)
from labkit.protocols.raft.client import Call
from labkit.protocols.raft.machine import Get, Put

PRIMARY, ANY, NEAREST = "primary", "any", "nearest"


class Ask(Message, frozen=True):
    """`local`: the answer of any one copy will do."""

    serial: int
    command: Get | Put
    local: bool = False


class Answer(Message, frozen=True):
    """Not `done`: it was not executed here, ask `elsewhere`. `stamp` grows with every write."""

    serial: int
    done: bool
    result: Any = None
    elsewhere: int | None = None
    stamp: tuple[int, int] = (0, 0)


class Client(Protocol):
    """Draws a command every `pause` seconds on average, until it is told to stop.

    `choose(random, serial)` makes the commands. Writes go to `writes_to` and reads to `reads_from`:
    the primary (as far as it is known), any member, the nearest by measured round trip, or a member
    by its number. It waits `patience` seconds for an answer.
    """

    def __init__(
        self,
        me: int,
        members: tuple[int, ...],
        context: Context,
        stored: Mapping[str, Any],
        *,
        choose: Callable[[Random, int], Any] | None = None,
        writes_to: str | int = ANY,
        reads_from: str | int = ANY,
        pause: float = 0.05,
        patience: float = 0.5,
    ) -> None:
        super().__init__(me, members, context, stored)
        self.choose, self.pause, self.patience = choose, pause, patience
        self.writes_to, self.reads_from = writes_to, reads_from
        self.primary = members[0]
        self.trip: dict[int, float] = {}  # by member: seconds of its last answer
        self.server = members[0]
        self.serial = 0
        self.call: Call | None = None
        self.history: list[Call] = []
        self.stamps: list[tuple[int, int]] = []  # of the calls that returned
        self.stopped = False

    def on_start(self) -> Effects:
        yield self.think()

    def on_answer(self, server: int, m: Answer) -> Effects:
        if self.call is None or m.serial != self.serial:
            return  # it has given up on that one
        if m.done:
            self.trip[server] = self.context.now - self.call.invoked
            self.call.returned, self.call.result = self.context.now, m.result
            self.stamps.append(m.stamp)
            yield CancelTimer("patience")
            yield from self.go_on()
        elif m.elsewhere is not None:
            self.server = self.primary = m.elsewhere
            yield from self.send()  # it was refused, so this is no second time

    def on_next(self) -> Effects:
        if not self.stopped and self.choose is not None:
            yield from self.ask(self.choose(self.context.random, self.serial + 1))

    def on_patience(self) -> Effects:
        """No answer. The call stays in the history without a return: unknown."""
        self.trip[self.server] = self.patience
        self.primary = self.context.random.choice(self.members)
        yield from self.go_on()

    def ask(self, command: Any) -> Effects:
        self.serial += 1
        self.call = Call(self.me, command, self.context.now)
        self.history.append(self.call)
        self.server = self.whom(self.reads_from if isinstance(command, Get) else self.writes_to)
        yield SetTimer("patience", self.patience)
        yield from self.send()

    def send(self) -> Effects:
        assert self.call is not None
        command = self.call.command
        local = isinstance(command, Get) and self.reads_from != PRIMARY
        yield Send(self.server, Ask(self.serial, command, local))

    def go_on(self) -> Effects:
        self.call = None
        yield self.think()

    def whom(self, where: str | int) -> int:
        if where == PRIMARY:
            return self.primary
        if where == ANY:
            return self.context.random.choice(self.members)
        if where == NEAREST:  # whoever was never asked comes first
            return min(self.members, key=lambda member: self.trip.get(member, 0.0))
        return int(where)

    def think(self) -> SetTimer:
        return SetTimer("next", self.context.random.expovariate(1 / self.pause))


class Scripted(Client):
    """Asks what the `script` says, at the second that it says; later if it still waits."""

    def __init__(self, *arguments: Any, script: tuple[tuple[float, Any], ...], **settings: Any):
        super().__init__(*arguments, **settings)
        self.script = list(script)

    def on_start(self) -> Effects:
        yield from self.go_on()

    def on_next(self) -> Effects:
        if self.script:
            yield from self.ask(self.script.pop(0)[1])

    def go_on(self) -> Effects:
        self.call = None
        if self.script:
            yield SetTimer("next", max(0.0, self.script[0][0] - self.context.now))
