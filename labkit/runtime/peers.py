"""The connections between the hosts: who meets whom, who is lost, who is told that it is out.

A closed connection is the failure detector: a member is lost when the last word from its kernel has
come. Who stood still, or was cut off, asks when it speaks again whether there was a view without it
meanwhile; if so, its life ends there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from labkit import events
from labkit.runtime import wire
from labkit.runtime.line import complain
from labkit.runtime.loop import Loop
from labkit.runtime.membership import Membership
from labkit.runtime.messages import CODEC, AmIOut, Excluded, Parcel, PeerHello, Said
from labkit.runtime.outbox import Outbox
from labkit.view import Member, View

RETRY_SECONDS = 0.2
ANSWER_SECONDS = 1.0  # for one whose host may be lost
BACKLOG = 1 << 20


class Peers:
    """Those of `me`. `receive(member, message)` is called with what a member says, `joined(member)`
    and `lost(member)` as connections open and close. One thread uses this, the host's."""

    membership: Membership  # which hears of the peers, and says who is out

    def __init__(
        self,
        loop: Loop,
        me: Member,
        token: bytes,
        receive: Callable[[Member, Any], None],
        joined: Callable[[Member], None],
        lost: Callable[[Member], None],
    ) -> None:
        self.loop, self.me, self.token = loop, me, token
        self.receive, self.joined, self.lost = receive, joined, lost
        self._connections: dict[int, wire.Connection] = {}
        self._outboxes: dict[int, Outbox] = {}
        self._roster: list[tuple[Member, tuple[str, int]]] = []
        self._opening: set[Member] = set()
        self._asked: set[Member] = set()  # whether this one is out
        self._retrying = False

    def listen(self, listener: Any) -> None:
        ours = self.loop, listener, self.token, CODEC
        wire.listen(*ours, lambda peer: None, self._receive, self._lost)

    # -- meeting

    def meet(self, members: list[tuple[Member, tuple[str, int]]]) -> None:
        """Of two members the later life opens the connection, else the higher rank."""
        self._roster = members
        for member, address in members:
            newer = (self.me.life, self.me.rank) > (member.life, member.rank)
            known = member in self.membership.alive or member in self._opening
            if newer and not known and member not in self.membership.excluded:
                self._open(member, address)
        self.membership.expect(member for member, _ in members)

    def _open(self, member: Member, address: tuple[str, int]) -> None:
        def ready(peer: wire.Connection) -> None:
            peer.send(PeerHello(self.me))

        def closed(peer: wire.Connection) -> None:
            self._opening.discard(member)
            if peer.peer is None:  # it stands still: try again for as long as it is expected
                self.loop.call_later(RETRY_SECONDS, lambda: self.meet(self._roster))
            self._lost(peer)

        self._opening.add(member)
        try:
            wire.connect(self.loop, address, self.token, CODEC, ready, self._receive, closed)
        except OSError:  # it died before we met
            self._opening.discard(member)

    def _receive(self, peer: wire.Connection, message: Any) -> None:
        match message:
            case PeerHello():
                return self._greeted(peer, message)
            case AmIOut(asking) if asking in self.membership.excluded:
                return peer.send(Excluded(self.membership.view))
            case AmIOut():
                return peer.close()
            case Excluded(view):
                return self._fence(view)
        if peer.peer is None:
            return wire.reject("out of turn")
        return self.receive(peer.peer, message)

    def _greeted(self, peer: wire.Connection, hello: PeerHello) -> None:
        member = hello.member
        if member in self.membership.excluded:
            return peer.send(Excluded(self.membership.view))
        first = peer.peer is None
        peer.peer = member
        if member.rank in self._connections and self._connections[member.rank] is not peer:
            self._connections[member.rank].close()  # an earlier life of this rank
        self._connections[member.rank] = peer
        self._outboxes[member.rank] = Outbox(self.loop, self.me.rank, member.rank, peer.send)
        self._opening.discard(member)
        if first and not peer.connector:
            peer.send(PeerHello(self.me))
        self.joined(member)

    # -- sending

    def send(self, rank: int, message: Any) -> bool:
        """False when there is no connection."""
        if rank in self._outboxes:
            self._outboxes[rank].put(message)
        return rank in self._outboxes

    def send_all(self, message: Any) -> None:
        for rank in list(self._outboxes):
            self.send(rank, message)

    def say(self, rank: int, said: Said) -> None:
        """A datagram: to a peer that stands still it is lost once the kernel's buffers are full."""
        if rank in self._outboxes and self._connections[rank].backlog < BACKLOG:
            self._outboxes[rank].put(said, reliable=False)

    def send_parcel(self, rank: int, parcel: Parcel) -> None:
        """A message between functions: a cut or lossy link loses it."""
        if rank in self._outboxes:
            self._outboxes[rank].put(parcel, reliable=False)

    def flush(self) -> None:
        """A fault on the links begins or ends."""
        for outbox in list(self._outboxes.values()):  # one that fails is closed, and leaves them
            outbox.flush()

    # -- losing

    def _lost(self, peer: wire.Connection) -> None:
        member: Member | None = peer.peer
        if member is None or self._connections.get(member.rank) is not peer:
            return
        del self._connections[member.rank]
        self._outboxes.pop(member.rank).close()
        self.lost(member)
        self._retry_later()

    def drop(self, member: Member) -> None:
        peer = self._connections.get(member.rank)
        if peer is not None and peer.peer == member:
            peer.close()

    def _retry_later(self) -> None:
        if not self._retrying:
            self._retrying = True
            self.loop.call_later(RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        """A peer that was lost may only have stood still. Or this rank did, or was cut off, and
        those of its view that do not speak to it any more have gone on without it."""
        self._retrying = False
        self.meet(self._roster)
        view, here = self.membership.view, (self.me, *self.membership.alive)
        members = ((m, address) for m, address in self._roster if m.rank in view.members)
        silent = [(m, address) for m, address in members if m not in here]
        for member, address in silent:
            if member not in self._asked:
                self._ask(member, address)
        if silent:
            self._retry_later()

    def _ask(self, member: Member, address: tuple[str, int]) -> None:
        def ask(peer: wire.Connection) -> None:
            peer.send(AmIOut(self.me))

        def closed(peer: wire.Connection) -> None:
            self._asked.discard(member)

        with contextlib.suppress(OSError):  # there may be no way
            ours = self.loop, address, self.token, CODEC
            peer = wire.connect(*ours, ask, self._receive, closed)
            self._asked.add(member)
            self.loop.call_later(ANSWER_SECONDS, peer.close)

    def _fence(self, view: View) -> None:
        """Nothing that this life still does may count: it ends."""
        rank = self.me.rank
        text = f"rank {rank} was taken for dead, and {view} goes on without it: this life ends here"
        events.record("note", text)
        complain(f"{text}. cluster.restart({rank}) gives it another one.\n")
        os._exit(1)
