"""A register on N replicas, written to W of them and read from R (D. Gifford, "Weighted Voting for
Replicated Data", SOSP 1979; G. DeCandia et al., "Dynamo", SOSP 2007).

Whichever replica a client asks coordinates the call. Every value has a version, a counter and a
node, and the newest wins. If R + W > N, any R replicas and any W have one in common: a read meets
the last write that was acknowledged. Three kinds of replication are settings of this one idea:
synchronous is W = N, asynchronous is W = 1, and a quorum lies between.

R + W > N does not make reads atomic. While a write is under way, one read may meet it and the next
one miss it, until the first has written back what it saw *before* it answers (H. Attiya, A. Bar-Noy
and D. Dolev, "Sharing Memory Robustly in Message-Passing Systems", JACM 42(1), 1995).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Struct

from labkit.protocols.clients import Answer, Ask
from labkit.protocols.effects import (
    Broadcast,
    CancelTimer,
    Context,
    Effects,
    Message,
    Persist,
    Protocol,
    Send,
    SetTimer,
)
from labkit.protocols.raft.machine import Get

NEVER, AFTER, BEFORE = "never", "after", "before"
"""When a read repairs stale replicas: Dynamo does it after it has answered (§5), ABD before."""

Operation = tuple[int, int]
"""The life of the coordinator and a number: an answer to an earlier life is not taken for one."""


class Version(Struct, frozen=True):
    counter: int = 0
    node: int = -1
    value: Any = None

    @property
    def stamp(self) -> tuple[int, int]:
        return self.counter, self.node


NOTHING = Version()


class Query(Message, frozen=True):
    operation: Operation
    key: str


class Queried(Message, frozen=True):
    operation: Operation
    version: Version


class Update(Message, frozen=True):
    operation: Operation
    key: str
    version: Version


class Updated(Message, frozen=True):
    operation: Operation


class Offer(Message, frozen=True):
    """All that a replica has, for whoever has less."""

    registers: dict[str, Version]


class Pending(Struct):
    """A call that this node coordinates. `known` says what each replica is known to have."""

    client: int
    ask: Ask
    deadline: float
    known: dict[int, Version]
    version: Version | None = None  # to be written, or to be returned
    answered: bool = False

    @property
    def reading(self) -> bool:
        return isinstance(self.ask.command, Get)

    def holders(self) -> list[int]:
        """Who is known to have the version, or a newer one."""
        assert self.version is not None
        stamp = self.version.stamp
        return [i for i, version in self.known.items() if version.stamp >= stamp]


class Register(Protocol):
    """`reads` is R and `writes` is W, a majority unless said otherwise; `repair` says when reads
    write back. A message is sent again every `retry` seconds until `patience` is over. Every
    `anti_entropy` seconds a replica offers all that it has to another (Dynamo §4.7); 0 is never."""

    stored_types: ClassVar[Mapping[str, Any]] = {
        "registers": dict[str, Version],
        "written": dict[int, int],
    }

    def __init__(
        self,
        me: int,
        members: tuple[int, ...],
        context: Context,
        stored: Mapping[str, Any],
        *,
        reads: int | None = None,
        writes: int | None = None,
        repair: str = BEFORE,
        retry: float = 0.1,
        patience: float = 0.5,
        anti_entropy: float = 0.5,
    ) -> None:
        super().__init__(me, members, context, stored)
        majority = len(members) // 2 + 1
        self.reads, self.writes = reads or majority, writes or majority
        self.repair, self.retry, self.patience = repair, retry, patience
        self.anti_entropy = anti_entropy
        # Persistent state of a replica
        self.registers: dict[str, Version] = dict(stored.get("registers", {}))
        self.life: int = stored.get("life", 0) + 1
        self.written: dict[int, int] = dict(stored.get("written", {}))  # by client: its last serial
        # Volatile state of a coordinator
        self.pending: dict[Operation, Pending] = {}
        self.number = 0

    def on_start(self) -> Effects:
        yield Persist(life=self.life)
        if self.anti_entropy and self.peers:
            yield SetTimer("anti_entropy", self.anti_entropy)

    # -- messages to a coordinator

    def on_ask(self, client: int, m: Ask) -> Effects:
        if m.serial <= self.written.get(client, 0):
            return  # it came twice: a write must not be done again
        if not isinstance(m.command, Get):
            self.written[client] = m.serial  # durable together with what it writes
        self.number += 1
        operation = self.life, self.number
        mine = {self.me: self.version(m.command.key)}
        call = Pending(client, m, self.context.now + self.patience, mine)
        self.pending[operation] = call
        yield SetTimer("retry", self.retry, key=operation)
        yield Broadcast(self.peers, Query(operation, m.command.key))
        yield from self.advance(operation, call)

    def on_queried(self, replica: int, m: Queried) -> Effects:
        call = self.pending.get(m.operation)
        if call is None:
            return
        if replica not in call.known:  # else it is an old answer, or the same once more
            call.known[replica] = m.version
            if call.reading and call.version is not None and replica not in call.holders():
                yield Send(replica, self.update(m.operation, call))
        yield from self.advance(m.operation, call)

    def on_updated(self, replica: int, m: Updated) -> Effects:
        call = self.pending.get(m.operation)
        if call is not None and call.version is not None:
            call.known[replica] = call.version
            yield from self.advance(m.operation, call)

    # -- messages to a replica

    def on_query(self, coordinator: int, m: Query) -> Effects:
        yield Send(coordinator, Queried(m.operation, self.version(m.key)))

    def on_update(self, coordinator: int, m: Update) -> Effects:
        yield from self.install({m.key: m.version})
        yield Send(coordinator, Updated(m.operation))

    def on_offer(self, peer: int, m: Offer) -> Effects:
        yield from self.install(m.registers)

    # -- timers

    def on_retry(self, operation: Operation) -> Effects:
        """Whoever has not answered is asked again; a call that took too long is given up."""
        call = self.pending[operation]
        if self.context.now >= call.deadline:
            del self.pending[operation]  # the client is told nothing: it may have happened or not
            return
        yield SetTimer("retry", self.retry, key=operation)
        if call.version is None:
            silent = tuple(i for i in self.peers if i not in call.known)
            yield Broadcast(silent, Query(operation, call.ask.command.key))
        else:
            holders = call.holders()
            behind = tuple(i for i in self.peers if i not in holders)
            yield Broadcast(behind, self.update(operation, call))

    def on_anti_entropy(self) -> Effects:
        yield Send(self.context.random.choice(self.peers), Offer(dict(self.registers)))
        yield SetTimer("anti_entropy", self.anti_entropy)

    # -- a call's way: enough answers, a version, enough copies, the answer

    def advance(self, operation: Operation, call: Pending) -> Effects:
        if call.version is None and len(call.known) >= self.reads:
            yield from self.decide(operation, call)
        if call.version is None:
            return
        holders = call.holders()
        if not call.answered and len(holders) >= self.copies(call):
            call.answered = True
            value = call.version.value if call.reading else None
            yield Send(call.client, Answer(call.ask.serial, True, value, stamp=call.version.stamp))
        if call.answered and (len(holders) == len(self.members) or not self.spreads(call)):
            yield CancelTimer("retry", operation)
            del self.pending[operation]

    def decide(self, operation: Operation, call: Pending) -> Effects:
        """Of R versions the newest: a read returns it, a write goes beyond it."""
        command = call.ask.command
        newest = max([*call.known.values(), self.version(command.key)], key=lambda v: v.stamp)
        if isinstance(command, Get):
            call.version = newest
            behind = tuple(i for i in self.peers if i in call.known and i not in call.holders())
            if self.repair != NEVER:
                yield from self.install({command.key: newest})
        else:
            call.version = Version(newest.counter + 1, self.me, command.value)
            behind = self.peers
            # Here first, and on the disk: after a crash no other value gets this version.
            self.registers[command.key] = call.version
            yield Persist(registers=dict(self.registers), written=dict(self.written))
        if self.spreads(call):
            call.known[self.me] = call.version
            yield Broadcast(behind, self.update(operation, call))

    def spreads(self, call: Pending) -> bool:
        """Whether the call brings the other replicas up to date."""
        return not call.reading or self.repair != NEVER

    def copies(self, call: Pending) -> int:
        """How many replicas must hold the version before the client hears of it."""
        return self.writes if not call.reading or self.repair == BEFORE else 0

    # -- helpers

    def version(self, key: str) -> Version:
        return self.registers.get(key, NOTHING)

    def install(self, versions: Mapping[str, Version]) -> Effects:
        """Durable before anyone hears of it; an older version never replaces a newer one."""
        newer = {k: v for k, v in versions.items() if v.stamp > self.version(k).stamp}
        if newer:
            self.registers |= newer
            yield Persist(registers=dict(self.registers))

    def update(self, operation: Operation, call: Pending) -> Update:
        assert call.version is not None
        return Update(operation, call.ask.command.key, call.version)
