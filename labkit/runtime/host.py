"""The host of a worker: one thread with the wire, the peers, the views and the store.

The main thread trains; this one keeps the rank's place in the cluster while it does, so its
handlers are short. The hosts agree among themselves who is in the view; the driver only tells them
where the others are, what to run, and which faults are in force.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import cloudpickle

from labkit import events, faults
from labkit.collectives.group import Farewell
from labkit.runtime import wire
from labkit.runtime.committer import Desk
from labkit.runtime.departures import Departures
from labkit.runtime.engine import CLIENTS, Engine
from labkit.runtime.inspect import Inspector
from labkit.runtime.line import Line
from labkit.runtime.loop import Loop
from labkit.runtime.membership import Membership
from labkit.runtime.messages import (
    CODEC,
    AmIOut,
    Cancel,
    Excluded,
    Hello,
    Inject,
    Inspect,
    Inspected,
    Installed,
    Left,
    Parcel,
    PeerHello,
    Regrouping,
    Roster,
    Said,
    Shutdown,
    Start,
    StoreReply,
    StoreRequest,
    Strike,
    Welcome,
)
from labkit.runtime.outbox import Outbox
from labkit.runtime.store import StoreClient
from labkit.runtime.strike import hold_lock
from labkit.runtime.watchdog import Watchdog
from labkit.view import Member, View

RETRY_SECONDS = 0.2
BACKLOG = 1 << 20


class Host:
    """Everything a worker does besides training. `on_cancel(run)` is called from its thread."""

    def __init__(
        self, me: Member, driver: tuple[str, int], token: bytes, on_cancel: Callable[[int], None]
    ) -> None:
        self.me, self.token, self.on_cancel = me, token, on_cancel
        self.inbox: SimpleQueue[Start | None] = SimpleQueue()
        self.parcels: dict[int, SimpleQueue[Parcel]] = {}
        self.welcome: Future[Welcome] = Future()
        self.view = View(0, ())
        self.view_changed = threading.Condition()
        self.lives: dict[int, int] = {me.rank: me.life}
        self.loop = Loop(f"host of rank {me.rank}", _complain)
        self._peers: dict[int, wire.Connection] = {}
        self._outboxes: dict[int, Outbox] = {}
        self.departures = Departures(self.lives)
        self._store = StoreClient(me.rank, self._to_peer)
        self.inspector = Inspector(me.rank, partial(self.loop.call_soon, self._to_peer))
        self._roster: list[tuple[Member, tuple[str, int]]] = []
        self._opening: set[Member] = set()
        self._striking: dict[faults.Fault, list[threading.Event]] = {}
        self._left: Left | None = None  # the last run that is over on this rank
        self.line = Line(self.loop)
        self.loop.start()
        self.loop.call(lambda: self._open(driver))

    def _open(self, driver: tuple[str, int]) -> None:
        self.line.connection = wire.connect(
            self.loop, driver, self.token, CODEC, self._on_driver, self._from_driver, self._leave
        )
        mine = self.line.connection.sock.getsockname()[0]  # the address of the route to the driver
        self._listener = wire.bind(mine)  # where peers wait until this one is settled

    # -- the driver

    def _on_driver(self, driver: wire.Connection) -> None:
        address = self._listener.getsockname()[:2]
        driver.send(Hello(self.me, os.getpid(), os.uname().nodename, address))

    def _from_driver(self, driver: wire.Connection, message: Any) -> None:
        match message:
            case Welcome():
                self._settle(message)
                self.welcome.set_result(message)
            case Roster(members):
                self._meet(members)
            case Start(run):
                self.departures.forget_before(run)
                self.inbox.put(message)
            case Cancel(run):
                self.on_cancel(run)
            case Inject(fault):
                faults.conditions.apply(fault)
                for outbox in self._outboxes.values():
                    outbox.flush()
                for struck in self._striking.pop(fault, []):
                    struck.set()
                if isinstance(fault, faults.HoldGIL) and fault.rank == self.me.rank:
                    hold_lock(fault.seconds)
            case Inspect():
                self.line.send(Inspected(self.inspector.record()))
            case Shutdown():
                self._leave(driver)

    def _leave(self, driver: wire.Connection) -> None:
        """The driver is gone, or says that it is over: nothing of this worker may stay."""
        os._exit(0)

    def strike(self, fault: faults.Fault) -> threading.Event:
        """Asks the driver to inject a planned fault; the event is set when it is in force here."""
        struck = threading.Event()
        self.loop.call(lambda: self._striking.setdefault(fault, []).append(struck))
        self.line.tell(Strike(fault))
        return struck

    # -- protocols

    def _settle(self, welcome: Welcome) -> None:
        """Nodes are there before the first peer is met, so that they hear of all that are lost."""
        events.use(events.EventLog(self.me.rank, self.me.life, welcome.events, self.line.stream))
        size = welcome.world_size
        self._engine = Engine(self.loop, self.me, Path(welcome.folder), self._say)
        self.membership = Membership(
            self._engine,
            self.me,
            size,
            welcome.silence,
            not welcome.joins,
            self._install,
            self._drop,
        )
        if self.me.rank < size:  # the witness is none of their members
            folder = Path(welcome.folder)
            self._watchdog = Watchdog(self.loop, self.inspector, folder, _complain)
            self.desk = Desk(self._engine, self.me, size)
            for group, factory in cloudpickle.loads(welcome.protocols).items():
                self._engine.run(group, factory, tuple(range(size)))
        ours = self.loop, self.token, CODEC
        wire.listen(*ours, lambda peer: None, self._from_peer, self._lost, self._listener)

    def worked(self, count: int) -> None:
        """What the training has done so far, for the detectors of the others. Any thread."""
        self.loop.call_soon(self._engine.worked, count)

    def _say(self, rank: int, said: Said) -> None:
        """A datagram: to a peer that stands still it is lost once the kernel's buffers are full."""
        if rank in self._outboxes and self._peers[rank].backlog < BACKLOG:
            self._outboxes[rank].put(said, reliable=False)

    # -- the peers

    def _meet(self, members: list[tuple[Member, tuple[str, int]]]) -> None:
        """Of two members the later life opens the connection, else the higher rank."""
        self._roster = members
        for member, address in members:
            newer = (self.me.life, self.me.rank) > (member.life, member.rank)
            known = member in self.membership.alive or member in self._opening
            if newer and not known and member not in self.membership.excluded:
                self._open_peer(member, address)
        self.membership.expect(member for member, _ in members)

    def _open_peer(self, member: Member, address: tuple[str, int]) -> None:
        def ready(peer: wire.Connection) -> None:
            peer.send(PeerHello(self.me))

        def closed(peer: wire.Connection) -> None:
            self._opening.discard(member)
            if peer.peer is None:  # it stands still: try again for as long as it is expected
                self.loop.call_later(RETRY_SECONDS, lambda: self._meet(self._roster))
            self._lost(peer)

        self._opening.add(member)
        try:
            wire.connect(self.loop, address, self.token, CODEC, ready, self._from_peer, closed)
        except OSError:  # it died before we met
            self._opening.discard(member)

    def _from_peer(self, peer: wire.Connection, message: Any) -> None:
        match message:
            case PeerHello():
                return self._greeted(peer, message)
            case AmIOut(asking) if asking in self.membership.excluded:
                return peer.send(Excluded(self.view))
            case AmIOut():
                return peer.close()
            case Excluded(view):
                return self._fence(view)
        member: Member | None = peer.peer
        if member is None:
            return wire.reject("out of turn")
        match message:
            case StoreRequest():
                self._store.serve(member.rank, message)
            case StoreReply():
                self._store.answered(message)
            case Inspect():
                self._to_peer(member.rank, Inspected(self.inspector.record()))
            case Inspected(record):
                self.inspector.answered(record)
            case Left(run, view, collectives):
                self._on_left(run, member.rank, Farewell(view, collectives))
            case Regrouping(run, view, collectives, lost):
                self.departures.regroups(run, member.rank, Farewell(view, collectives), lost)
            case Said(source=source) if source % CLIENTS == member.rank:
                self._engine.deliver(message)
            case Parcel(clock=clock):
                events.current().witness(clock)
                self._parcels_from(member.rank).put(message)
            case _:
                wire.reject("out of turn")

    def _greeted(self, peer: wire.Connection, hello: PeerHello) -> None:
        member = hello.member
        if member in self.membership.excluded:
            return peer.send(Excluded(self.view))
        first = peer.peer is None
        peer.peer = member
        if member.rank in self._peers and self._peers[member.rank] is not peer:
            self._peers[member.rank].close()  # an earlier life of this rank
        self._peers[member.rank] = peer
        self._outboxes[member.rank] = Outbox(self.loop, self.me.rank, member.rank, peer.send)
        self.lives[member.rank] = member.life
        self.departures.returned(member)
        self._opening.discard(member)
        if first and not peer.connector:
            peer.send(PeerHello(self.me))
        if self._left is not None:
            self._to_peer(member.rank, self._left)
        self.membership.joined(member)
        self._engine.trust(member.rank)

    def _to_peer(self, rank: int, message: Any) -> bool:
        """False when there is no connection."""
        if rank in self._outboxes:
            self._outboxes[rank].put(message)
        return rank in self._outboxes

    def send_parcel(self, rank: int, parcel: Parcel) -> None:
        """A message between functions: a cut or lossy link loses it. Any thread."""

        def send() -> None:
            if rank in self._outboxes:
                self._outboxes[rank].put(parcel, reliable=False)

        self.loop.call_soon(send)

    def _parcels_from(self, rank: int) -> SimpleQueue[Parcel]:
        return self.parcels.setdefault(rank, SimpleQueue())

    # -- the failure detector: a closed connection

    def _lost(self, peer: wire.Connection) -> None:
        member: Member | None = peer.peer
        if member is None or self._peers.get(member.rank) is not peer:
            return
        del self._peers[member.rank]
        self._outboxes.pop(member.rank).close()
        if self.view.number:  # the witness is in no view, and in nobody's picture
            events.record("lost", peer=member.rank, view=self.view.number)
        self.departures.died(member)
        self._store.lost(member.rank)
        self.membership.lost(member)
        self._engine.suspect(member.rank)
        self.loop.call_later(RETRY_SECONDS, self._retry)

    def _drop(self, member: Member) -> None:
        peer = self._peers.get(member.rank)
        if peer is not None and peer.peer == member:
            peer.close()

    def _retry(self) -> None:
        """A peer that was lost may only have stood still. Or this rank did, or was cut off, and
        those of its view that do not speak to it any more have gone on without it."""
        self._meet(self._roster)
        members = ((m, address) for m, address in self._roster if m.rank in self.view.members)
        silent = [address for m, address in members if m not in (self.me, *self.membership.alive)]
        for address in silent:
            with contextlib.suppress(OSError):
                wire.connect(
                    *(self.loop, address, self.token, CODEC),
                    lambda peer: peer.send(AmIOut(self.me)),
                    self._from_peer,
                    lambda peer: None,
                )
        if silent:
            self.loop.call_later(RETRY_SECONDS, self._retry)

    def _fence(self, view: View) -> None:
        """Nothing that this life still does may count: it ends."""
        rank = self.me.rank
        text = f"rank {rank} was taken for dead, and {view} goes on without it: this life ends here"
        events.record("note", text)
        _complain(f"{text}. cluster.restart({rank}) gives it another one.\n")
        os._exit(1)

    def get_ready(self) -> None:
        """Now this rank may come into the view. Any thread."""
        self.loop.call_soon(self.membership.get_ready)

    def leave(self, run: int, farewell: Farewell) -> None:
        """Tells the others that the function is over on this rank. Any thread."""
        self.loop.call_soon(self._leave_run, Left(run, *farewell))

    def _leave_run(self, left: Left) -> None:
        self._left = left
        self._to_peers(left)

    def regroup(self, run: int, farewell: Farewell, lost: int | None) -> None:
        """Tells the others that this rank has left a group for the next view's. Any thread."""
        self.loop.call_soon(self._to_peers, Regrouping(run, *farewell, lost))

    def _to_peers(self, message: Any) -> None:
        for rank in list(self._outboxes):
            self._to_peer(rank, message)

    def _on_left(self, run: int, rank: int, farewell: Farewell) -> None:
        with self.view_changed:
            self.departures.finished(run, rank, farewell)
            self.view_changed.notify_all()

    def _install(self, view: View) -> None:
        events.record("view", str(view), number=view.number, members=view.members)
        with self.view_changed:
            self.view = view
            self.view_changed.notify_all()
        self.departures.installed(view)
        self.line.send(Installed(view.number, view.members))

    def ask(self, owner: int, request: StoreRequest) -> Future[StoreReply]:
        """Sends a request to the store that `owner` keeps. Any thread but the host's."""
        future: Future[StoreReply] = Future()
        self.loop.call_soon(self._store.ask, owner, request, future)
        return future


def _complain(text: str) -> None:
    os.write(2, text.encode())  # straight to the driver: print's lock may be the main thread's
