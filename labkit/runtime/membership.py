"""Which ranks make up the next view: the lowest survivor proposes, all others echo it.

The word "gone" comes from closed connections. Every survivor tells the others whom it has lost;
the lowest rank that is left proposes `View(number, members)`; each member that sees the same
members echoes the proposal to all of them, and installs it when it has the echo of every one. A
member that knows better (it has lost one of the proposed, or has echoed another view of that
number) refuses, and the proposal is made again with a higher number: the set of the gone only
grows, so this ends. A closed connection is the only evidence here, and a partition of the network
can therefore make two views: consensus has to take this place for that, and it fits in here
(`lost` and `joined` go in, `install` comes out).

One thread uses this. It holds no socket and no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.runtime.messages import Echo, Gone, Member, Propose, Refuse
from labkit.view import View

Proposal = tuple[int, tuple[Member, ...]]


class Membership:
    """The views of `me`. `send(rank, message)`, `install(view)` and `drop(member)` act for it."""

    def __init__(
        self,
        me: Member,
        send: Callable[[int, Any], None],
        install: Callable[[View], None],
        drop: Callable[[Member], None],
    ) -> None:
        self.me, self.send, self.install, self.drop = me, send, install, drop
        self.alive: set[Member] = {me}
        self.gone: set[Member] = set()
        self.expected: set[Member] = {me}
        self.members: set[Member] = set()  # of the view that is installed
        self.number = 0  # of the view that is installed
        self.highest = 0  # number of any proposal seen
        self.proposal: Proposal | None = None  # the one that is under way
        self.echoed: Proposal | None = None  # the last one that this rank echoed
        self.echoes: dict[Proposal, set[Member]] = {}

    # -- what happens around this rank

    def expect(self, roster: set[Member]) -> None:
        """The launcher says who is on the way: no view is proposed before they are here."""
        self.expected = roster
        self._propose_if_due()

    def joined(self, member: Member, number: int) -> None:
        """A connection to `member` is open; it has seen proposals up to `number`."""
        self.alive.add(member)
        self.highest = max(self.highest, number)
        if self.proposal is not None:
            self._consider(self.proposal)
        self._propose_if_due()

    def lost(self, member: Member) -> None:
        """The connection to `member` is closed."""
        if member in self.gone or member == self.me:
            return
        self.gone.add(member)
        self.alive.discard(member)
        self._tell(Gone((member,)))
        self._propose_if_due()

    # -- messages of the other ranks

    def on_gone(self, message: Gone) -> None:
        for member in message.members:
            if member in self.alive and member != self.me:
                self.drop(member)
                self.lost(member)

    def on_propose(self, source: int, message: Propose) -> None:
        proposal = message.number, message.members
        echoed = self.echoed
        rival = echoed is not None and echoed[0] == message.number and echoed != proposal
        if message.number <= self.number or (rival and not self._void(echoed)):
            self.send(source, Refuse(message.number, self.highest))
            return
        self.highest = max(self.highest, message.number)
        self._consider(proposal)

    def on_refuse(self, message: Refuse) -> None:
        self.highest = max(self.highest, message.highest)
        if self.proposal is not None and self.proposal[0] == message.number:
            self.proposal = None
            self._propose_if_due()

    def on_echo(self, source: Member, message: Echo) -> None:
        self.highest = max(self.highest, message.number)
        self._count(source, (message.number, message.members))

    # -- agreement

    def _propose_if_due(self) -> None:
        if self.me != min(self.alive) or not self.expected - self.gone <= self.alive:
            return
        members = tuple(sorted(self.alive))
        under_way = self.proposal is not None and self.proposal[1] == members
        if under_way or (self.proposal is None and self.alive == self.members):
            return
        self.highest += 1
        self._tell(Propose(self.highest, members))
        self._consider((self.highest, members))

    def _consider(self, proposal: Proposal) -> None:
        """Echoes the proposal if it fits what this rank sees; else waits, or says what it knows."""
        self.proposal = proposal
        members = set(proposal[1])
        if self._void(proposal):
            self.proposal = None
            self._tell(Gone(tuple(self.gone & members)))
            return
        for member in (self.members & self.alive) - members - {self.me}:
            self.drop(member)  # the proposer has lost it: gone for one is gone for all
            self.lost(member)
        if self.proposal == proposal and members <= self.alive and self.echoed != proposal:
            self.echoed = proposal
            self._tell(Echo(*proposal))
            self._count(self.me, proposal)

    def _count(self, source: Member, proposal: Proposal) -> None:
        number, members = proposal
        echoes = self.echoes.setdefault(proposal, set())
        echoes.add(source)
        if echoes == set(members) and number > self.number:
            self.number, self.members = number, set(members)
            if self.proposal is not None and self.proposal[0] <= number:
                self.proposal = None
            self.echoes = {p: e for p, e in self.echoes.items() if p[0] > number}
            self.install(View(number, tuple(m.rank for m in members)))
            self._propose_if_due()

    def _void(self, proposal: Proposal | None) -> bool:
        return proposal is not None and not self.gone.isdisjoint(proposal[1])

    def _tell(self, message: Any) -> None:
        for member in sorted(self.alive - {self.me}):
            self.send(member.rank, message)
