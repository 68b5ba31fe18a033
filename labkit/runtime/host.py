"""The host of a worker: one thread with the wire, the peers, the views and the store.

The main thread trains; this one keeps the rank's place in the cluster while it does, so its
handlers are short. The hosts agree among themselves who is in the view; the driver only tells them
where the others are, what to run, and which faults are in force.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import cloudpickle

from labkit import events, faults
from labkit.collectives.detection import Farewell
from labkit.runtime import health, wire
from labkit.runtime.address import advertise, host_name
from labkit.runtime.committer import Desk
from labkit.runtime.departures import Departures
from labkit.runtime.engine import CLIENTS, Engine
from labkit.runtime.inspect import Inspector
from labkit.runtime.launch.courier import began
from labkit.runtime.line import Line, complain
from labkit.runtime.loop import Loop
from labkit.runtime.membership import Membership
from labkit.runtime.messages import (
    CODEC,
    AskTime,
    Cancel,
    Hello,
    Inject,
    Inspect,
    Inspected,
    Installed,
    Left,
    Parcel,
    Ping,
    Pong,
    Regrouping,
    Roster,
    Said,
    Shutdown,
    Start,
    StoreReply,
    StoreRequest,
    Strike,
    Time,
    Welcome,
)
from labkit.runtime.peers import Peers
from labkit.runtime.store import StoreClient
from labkit.runtime.strike import hold_lock
from labkit.runtime.urgency import go_first
from labkit.runtime.watchdog import Watchdog
from labkit.view import Member, View


class Host:
    """Everything a worker does besides training. `on_cancel(run)` is called from its thread. `me`
    is what the process calls itself until the driver has welcomed it."""

    apart: bool  # each rank has a host of its own
    inspector: Inspector
    desk: Desk
    membership: Membership
    _engine: Engine
    _peers: Peers
    _store: StoreClient

    def __init__(
        self, me: Member, driver: tuple[str, int], token: bytes, on_cancel: Callable[[int], None]
    ) -> None:
        self.me, self.token, self.on_cancel = me, token, on_cancel
        self.inbox: SimpleQueue[Start | None] = SimpleQueue()
        self.parcels: dict[int, SimpleQueue[Parcel]] = {}
        self.welcome: Future[Welcome] = Future()
        self.view = View(0, ())
        self.view_changed = threading.Condition()
        self.lives: dict[int, int] = {}
        self.loop = Loop("host", complain)
        self.departures = Departures(self.lives)
        self._striking: dict[faults.Fault, list[threading.Event]] = {}
        self._left: Left | None = None  # the last run that is over on this rank
        self.line = Line(self.loop)
        self.loop.start()
        self.loop.call(go_first)
        self.loop.call(lambda: self._open(driver))

    def _open(self, driver: tuple[str, int]) -> None:
        ours = self.loop, driver, self.token, CODEC
        hear = self._on_driver, self._from_driver, self._leave
        self.line.connection = wire.connect(*ours, *hear, wait=True)
        self.line.begin()
        mine = self.line.connection.sock.getsockname()[0]  # the address of the route to the driver
        advertise(mine)
        self._listener = wire.bind(mine)  # where peers wait until this one is settled

    # -- the driver

    def _on_driver(self, driver: wire.Connection) -> None:
        address = self._listener.getsockname()[:2]
        driver.send(Hello(self.me, os.getpid(), began(), host_name(), address))

    def _from_driver(self, driver: wire.Connection, message: Any) -> None:
        match message:
            case Welcome():
                self._settle(message)
                self.welcome.set_result(message)
            case Roster(members):
                self._peers.meet(members)
            case Start(run):
                self.departures.forget_before(run)
                self.inbox.put(message)
            case Cancel(run):
                self.on_cancel(run)
            case Inject(fault):
                self._inject(fault)
            case Inspect():
                self.line.send(Inspected(self.inspector.record()))
            case AskTime(asked):
                self.line.send(Time(asked, time.monotonic()))
            case Ping():
                self.line.send(Pong(*self.membership.leadership()))
            case Shutdown():
                self._leave(driver)

    def _inject(self, fault: faults.Fault) -> None:
        if not (self.apart and isinstance(fault, faults.OfLinks)):
            faults.conditions.apply(fault)
        self._peers.flush()
        for struck in self._striking.pop(fault, []):
            struck.set()
        if isinstance(fault, faults.HoldGIL) and fault.rank == self.me.rank:
            hold_lock(fault.seconds)

    def _leave(self, driver: wire.Connection) -> None:
        """The driver is gone, or says that it is over: nothing of this worker may stay."""
        os._exit(0)

    def end(self, why: str) -> None:
        """This rank has left in good order, and is not wanted any more."""
        events.record("note", f"rank {self.me.rank} leaves: {why}")
        self.loop.call(self.line.flush)  # behind all that was to be sent before
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
        me, size = welcome.member, welcome.world_size
        self.me, self.apart = me, welcome.apart
        self.lives[me.rank] = me.life
        folder = Path(welcome.folder)
        events.use(events.EventLog(me.rank, me.life, welcome.events, self.line.stream))
        peers = Peers(self.loop, me, self.token, self._from_peer, self._joined, self._lost)
        self._peers, self._store = peers, StoreClient(me.rank, peers.send)
        self._engine = Engine(self.loop, me, folder, peers.say)
        ready = not welcome.joins
        agreeing = self._engine, me, size, welcome.silence, ready, self._install, peers.drop
        self.membership = peers.membership = Membership(*agreeing)
        self.inspector = Inspector(me.rank, partial(self.loop.call_soon, peers.send))
        if me.rank < size:  # the witness is none of their members
            self._watchdog = Watchdog(self.loop, self.inspector, folder, complain)
            self.desk = Desk(self._engine, me, size)
            for group, factory in cloudpickle.loads(welcome.protocols).items():
                self._engine.run(group, factory, tuple(range(size)))
        peers.listen(self._listener)
        trains = me.rank < size
        health.serve(self.loop, lambda: self.inspector.record() if trains else None)

    def worked(self, count: int) -> None:
        """What the training has done so far, for the detectors of the others. Any thread."""
        self.loop.call_soon(self._engine.worked, count)

    def get_ready(self) -> None:
        """Now this rank may come into the view. Any thread."""
        self.loop.call_soon(self.membership.get_ready)

    def _install(self, view: View) -> None:
        events.record("view", str(view), number=view.number, members=view.members)
        with self.view_changed:
            self.view = view
            self.view_changed.notify_all()
        self.departures.installed(view)
        self.line.send(Installed(view.number, view.members))

    # -- the peers

    def _joined(self, member: Member) -> None:
        self.lives[member.rank] = member.life
        self.departures.returned(member)
        if self._left is not None:
            self._peers.send(member.rank, self._left)
        self.membership.joined(member)
        self._engine.trust(member.rank)

    def _lost(self, member: Member) -> None:
        if self.view.number:  # the witness is in no view, and in nobody's picture
            events.record("lost", peer=member.rank, view=self.view.number)
        self.departures.died(member)
        self._store.lost(member.rank)
        self.membership.lost(member)
        self._engine.suspect(member.rank)

    def _from_peer(self, member: Member, message: Any) -> None:
        match message:
            case Said(source=source) if source % CLIENTS == member.rank:  # nearly all are beats
                self._engine.deliver(message)
            case StoreRequest():
                self._store.serve(member.rank, message)
            case StoreReply():
                self._store.answered(message)
            case Inspect():
                self._peers.send(member.rank, Inspected(self.inspector.record()))
            case Inspected(record):
                self.inspector.answered(record)
            case Left(run, view, collectives, lost):
                self._on_left(run, member.rank, Farewell(view, collectives, lost))
            case Regrouping(run, view, collectives, lost):
                farewell = Farewell(view, collectives, lost, goes_on=True)
                self.departures.regroups(run, member.rank, farewell)
            case Parcel(clock=clock):
                events.current().witness(clock)
                self.parcels_from(member.rank).put(message)
            case _:
                wire.reject("out of turn")

    def _on_left(self, run: int, rank: int, farewell: Farewell) -> None:
        with self.view_changed:
            self.departures.finished(run, rank, farewell)
            self.view_changed.notify_all()

    # -- what the training thread says to them

    def leave(self, run: int, farewell: Farewell) -> None:
        """Tells the others that the function is over on this rank. Any thread."""
        self.loop.call_soon(self._leave_run, Left(run, *farewell[:3]))

    def _leave_run(self, left: Left) -> None:
        self._left = left
        self._peers.send_all(left)

    def regroup(self, run: int, farewell: Farewell) -> None:
        """Tells the others that this rank has left a group for the next view's. Any thread."""
        self.loop.call_soon(self._peers.send_all, Regrouping(run, *farewell[:3]))

    def send_parcel(self, rank: int, parcel: Parcel) -> None:
        """A message between functions: a cut or lossy link loses it. Any thread."""
        self.loop.call_soon(self._peers.send_parcel, rank, parcel)

    def parcels_from(self, rank: int) -> SimpleQueue[Parcel]:
        return self.parcels.setdefault(rank, SimpleQueue())

    def ask(self, owner: int, request: StoreRequest) -> Future[StoreReply]:
        """Sends a request to the store that `owner` keeps. Any thread but the host's."""
        future: Future[StoreReply] = Future()
        self.loop.call_soon(self._store.ask, owner, request, future)
        return future
