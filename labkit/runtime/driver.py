"""The driver's side of a cluster: it launches, injects faults, listens and keeps the record.

It decides nothing for the system under test. Everything here runs on the one loop thread that all
clusters of this process share; `Cluster` is the part that people see.
"""

from __future__ import annotations

import itertools
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit import events, faults
from labkit.events import Event, EventLog
from labkit.runtime import wire
from labkit.runtime.console import Console
from labkit.runtime.inject import inject
from labkit.runtime.launch.launcher import Launcher
from labkit.runtime.links import Links
from labkit.runtime.loop import Loop
from labkit.runtime.messages import (
    CODEC,
    Cancel,
    Failed,
    Finished,
    Happened,
    Hello,
    Inspected,
    Installed,
    Pong,
    Shutdown,
    Start,
    Strike,
    Time,
)
from labkit.runtime.placement import Placement
from labkit.runtime.run import Died, Raised, Run
from labkit.runtime.seat import Seat, Seats
from labkit.runtime.supervisor import Supervisor
from labkit.view import View

CANCEL_SECONDS = 2.0
"""A rank that has not left a cancelled run by then is in a call that cannot be left: replaced."""


class Driver:
    """One cluster. Public methods may be called from any thread but the loop's."""

    def __init__(
        self,
        placement: Placement,
        launcher: Launcher,
        loop: Loop,
        directory: Path | None,
        seed: int,
        deadline: float,
        patience: float,
        protocols: bytes,
        silence: float | None,
        max_restarts: int,
        spares: int,
    ) -> None:
        self.placement, self.launcher, self.loop = placement, launcher, loop
        self.directory, self.seed, self.protocols = directory, seed, protocols
        self.silence = silence
        # The voters have disks, also where no record is kept.
        self._borrowed = "" if directory else tempfile.mkdtemp(prefix="labkit-")
        self.folder = str(directory or self._borrowed)
        self.deadline, self.patience = deadline, patience
        self.world_size = self.witness = len(placement.ranks)
        self.token = launcher.token or secrets.token_bytes(32)
        self.changed = threading.Condition()
        self.seats = Seats(self.world_size, launcher.signal)
        self.closed = False
        self.in_block = False  # of `with Cluster(…)`, which closes it
        self.run: Run | None = None
        self._numbers = itertools.count(1)
        self._timed: list[Any] = []
        self.start_message: Start | None = None  # of the last run
        self.in_force: list[faults.Fault] = []
        self.console = Console()
        self.listeners: list[Callable[[list[Event]], None]] = []  # hear of every event
        self.links = Links(self, launcher.network) if launcher.network is not None else None
        path = directory / "events" / "driver.jsonl" if directory else None
        self.log = EventLog(events.DRIVER, path=path, stream=self._keep)
        self.supervisor = Supervisor(self, max_restarts, spares)
        self.loop.call(self._listen)
        try:
            self.supervisor.launch()
        except BaseException:
            self.close()
            raise

    def _listen(self) -> None:
        self._listener = self.launcher.bind()
        ours = self.loop, self._listener, self.token, CODEC
        wire.listen(*ours, lambda c: None, self._on_message, self.supervisor.on_close)
        host, port = self._listener.getsockname()[:2]
        self.join = f"{host}:{port}"

    def living(self) -> tuple[int, ...]:
        """The ranks that are not dead; the witness is none."""
        return self.seats.living()

    def dead(self) -> tuple[int, ...]:
        """The ranks, and the witness, that have no next life under way; those that were killed a
        moment ago are among them."""
        with self.changed:
            gone = [s for s in self.seats.values() if s.state == "dead" or s.killed]
            return tuple(seat.rank for seat in gone if not seat.replaced)

    # -- what workers say

    def _on_message(self, connection: wire.Connection, message: Any) -> None:
        if isinstance(message, Hello):
            return self.supervisor.on_hello(connection, message)
        seat: Seat | None = connection.peer
        if seat is None:
            return wire.reject("out of turn")
        seat.heard = time.monotonic()
        match message:
            case Happened(happened):
                self.take(seat, happened)
            case Installed(number, members):
                with self.changed:
                    seat.view = View(number, members)
                    self.changed.notify_all()
                self.supervisor.judge.heed(seat.view)
            case Finished(run, result, tired):
                self._on_outcome(seat, run, result, tired)
            case Failed(run, kind, text, trace, step, error, tired):
                raised = Raised(seat.rank, kind, text, trace, step, error)
                self._on_outcome(seat, run, raised, tired)
            case Inspected(record):
                with self.changed:
                    seat.record = record
                    self.changed.notify_all()
            case Pong(term, leader):
                seat.term, seat.leader = term, leader
            case Strike(fault):
                inject(self, fault)
            case Time():
                seat.host_clock.said(message)
                seat.host_clock.ask(connection.send)

    def _on_outcome(self, seat: Seat, number: int, outcome: Raised | bytes, tired: bool) -> None:
        seat.doing = ""
        seat.replaced = tired  # known before anyone can start another run on it
        mine = self.run is not None and self.run.number == number
        if mine and not (isinstance(outcome, Raised) and self.supervisor.retries(seat, outcome)):
            self.end_on(seat.rank, outcome)
        if tired:
            inject(self, faults.Restart(seat.rank))

    def end_on(self, rank: int, outcome: Died | Raised | bytes) -> None:
        """The run is over on this rank; when it is over on all, what was planned is off."""
        if self.run is not None:
            self.run.end(rank, outcome)
            if self.run.done:
                for timer in self._timed:
                    timer.cancel()

    def take(self, seat: Seat, happened: list[Event]) -> None:
        fresh = seat.host_clock.ours([e for e in happened if e.clock > seat.clock])
        if not fresh:
            return
        for event in fresh:
            if event.kind == "begin":
                seat.doing = event.name
            elif event.kind == "step":
                seat.step = event.data.get("step")
            elif event.kind == "straggler":
                seat.slow = event.data["factor"]
        seat.clock = fresh[-1].clock
        self.log.witness(seat.clock)
        self._tell(fresh)

    def _keep(self, event: Event) -> None:
        self._tell([event])

    def _tell(self, happened: list[Event]) -> None:
        if self.run is not None:
            self.run.add(happened)
        for listen in self.listeners:
            listen(happened)

    # -- runs

    @property
    def elastic_run(self) -> Run | None:
        """The run under way, if ranks that come back take part in it."""
        run, start = self.run, self.start_message
        if run is None or run.done or run.cancelled or start is None or not start.elastic:
            return None
        return run

    def start(
        self,
        payload: bytes,
        name: str,
        plan: faults.FaultPlan,
        seed: int,
        deadline: float,
        elastic: bool,
    ) -> Run:
        if self.run is not None and not self.run.done:
            self.cancel(self.run)
        self.supervisor.wait_ready(self.patience)
        with self.changed:
            ranks = self.living()
            view = self.seats[ranks[0]].view if ranks else View(0, ())
        if not ranks:
            raise RuntimeError("every rank is dead: cluster.restart(0), or make a new cluster")
        run = Run(self, next(self._numbers), ranks, name, view)

        def begin() -> None:
            self.run = run
            for seat in self.seats.values():
                seat.step = None
                if seat.died is not None:  # since the view was read
                    run.end(seat.rank, seat.died)
            entries = list(plan.entries)
            how = payload, entries, seed, deadline, elastic
            self.start_message = Start(run.number, view.number, view.members, *how)
            self.broadcast(self.start_message, ranks)
            if elastic:
                self.supervisor.bring_back()
            self._timed = [
                self.loop.call_later(entry.seconds, lambda f=entry.fault: inject(self, f))  # type: ignore[misc]
                for entry in entries
                if entry.seconds is not None
            ]

        self.loop.call(begin)
        return run

    def cancel(self, run: Run) -> None:
        """Interrupts a run and waits for its end; ranks that cannot be interrupted are replaced."""
        if self.closed or run.done:
            return
        run.cancelled = True
        self.loop.call(lambda: self.broadcast(Cancel(run.number)))
        self.loop.call(lambda: [timer.cancel() for timer in self._timed])
        end = time.monotonic() + CANCEL_SECONDS
        with run.changed:
            while not run.done and time.monotonic() < end:
                run.changed.wait(0.1)
        if stuck := run.waiting:
            self.restart(*stuck)

    def broadcast(self, message: Any, ranks: tuple[int, ...] | None = None) -> None:
        """To these, or to all."""
        for seat in self.seats.values():
            if ranks is not None and seat.rank not in ranks:
                continue
            if seat.connection is not None and seat.state != "dead":
                seat.connection.send(message)

    def restart(self, *ranks: int, seconds: float = 30.0) -> None:
        """New processes take the ranks and join the next view; waits for them."""
        for rank in sorted(ranks):
            inject(self, faults.Restart(rank))
        self.supervisor.wait_ready(seconds)

    # -- the end

    def close(self) -> None:
        """Ends every worker and waits until they are gone. Any thread, any number of times."""
        if threading.current_thread() is self.loop.thread:  # the garbage collector chose this one
            threading.Thread(target=self.close, daemon=True).start()
            return
        with self.changed:
            if self.closed:
                return
            self.closed = True
        try:
            self.loop.call(self._say_goodbye)
            self.supervisor.wait_gone()
        finally:  # also when this is interrupted
            self.supervisor.kill_all()
            self.supervisor.wait_gone()
            self.loop.call(self._end_conversations)
            self.launcher.close()
            self.log.close()
            if self._borrowed:
                shutil.rmtree(self._borrowed, ignore_errors=True)

    def _say_goodbye(self) -> None:
        for timer in self._timed:
            timer.cancel()
        for seat in self.seats.values():
            lost = self.links is not None and self.links.is_down(seat)
            if seat.state == "paused" or lost:  # it could not hear
                with self.changed:
                    seat.send(signal.SIGKILL)
        self.broadcast(Shutdown())
        self.supervisor.spares.dismiss()
        self.loop.unwatch(self._listener)
        self._listener.close()

    def _end_conversations(self) -> None:
        for rank in sorted(self.run.waiting) if self.run is not None else ():
            text = "the cluster was closed while the run was under way"
            self.end_on(rank, Raised(rank, "Cancelled", text, text, self.seats[rank].step))
        for seat in self.seats.values():
            if seat.connection is not None:
                seat.connection.close()
