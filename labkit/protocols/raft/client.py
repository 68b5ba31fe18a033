"""A client of the replicated key–value store, and the history that it leaves for the checker.

It has one command under way, sends it again until it is done, and follows the replies' hints to the
leader. Its calls are what a linearizability checker needs: when each was invoked, and when and what
it returned, if it ever did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from msgspec import Struct

from labkit.protocols.effects import CancelTimer, Context, Effects, Protocol, Send, SetTimer
from labkit.protocols.raft.machine import Command, Get
from labkit.protocols.raft.reads import ClientRead
from labkit.protocols.raft.sessions import ClientReply, ClientRequest


class Call(Struct):
    """One operation of a client; `returned` is None while nobody knows whether it took effect."""

    client: int
    command: Any
    invoked: float
    returned: float | None = None
    result: Any = None


class Client(Protocol):
    """Draws a command every `pause` seconds on average, until it is told to `stop`.

    `choose(random, serial)` makes the commands; a `Get` is sent as a read. `patience` in seconds
    is how long it waits for an answer before it asks somebody else.
    """

    def __init__(
        self,
        me: int,
        members: tuple[int, ...],
        context: Context,
        stored: Mapping[str, Any],
        *,
        choose: Callable[[Random, int], Command],
        pause: float = 0.05,
        patience: float = 0.3,
    ) -> None:
        super().__init__(me, members, context, stored)
        self.choose, self.pause, self.patience = choose, pause, patience
        self.server = members[0]
        self.serial = 0
        self.call: Call | None = None
        self.history: list[Call] = []
        self.stopped = False

    def on_start(self) -> Effects:
        yield self.think()

    def on_next(self) -> Effects:
        if self.stopped:
            return
        self.serial += 1
        command = self.choose(self.context.random, self.serial)
        self.call = Call(self.me, command, self.context.now)
        self.history.append(self.call)
        yield from self.ask()

    def on_retry(self) -> Effects:
        """No answer: somebody else may know more."""
        self.server = self.context.random.choice(self.members)
        yield from self.ask()

    def on_client_reply(self, server: int, m: ClientReply) -> Effects:
        if self.call is None or m.serial != self.serial:
            return  # to an earlier command, or once more
        if m.done:
            self.call.returned, self.call.result = self.context.now, m.result
            self.call = None
            yield CancelTimer("retry")
            yield self.think()
        elif m.leader is not None and m.leader != self.server:
            self.server = m.leader
            yield from self.ask()

    def ask(self) -> Effects:
        assert self.call is not None
        command = self.call.command
        kind = ClientRead if isinstance(command, Get) else ClientRequest
        yield Send(self.server, kind(self.serial, command))
        yield SetTimer("retry", self.patience)

    def think(self) -> SetTimer:
        return SetTimer("next", self.context.random.expovariate(1 / self.pause))
