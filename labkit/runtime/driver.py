"""The driver's side of a cluster: it launches, injects faults, listens and keeps the record.

It decides nothing for the system under test. Everything here runs on the one loop thread that all
clusters of this process share; `Cluster` is the part that people see.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from labkit import events, faults
from labkit.events import Event, EventLog
from labkit.runtime import wire
from labkit.runtime.console import Console
from labkit.runtime.inject import inject
from labkit.runtime.launch.process import Process
from labkit.runtime.loop import Loop
from labkit.runtime.messages import (
    CODEC,
    Cancel,
    Failed,
    Finished,
    Happened,
    Hello,
    Inject,
    Inspected,
    Installed,
    Roster,
    Shutdown,
    Start,
    Strike,
    Welcome,
)
from labkit.runtime.placement import Placement
from labkit.runtime.run import Died, Raised, Run, how_it_ended
from labkit.runtime.seat import Seat, Seats
from labkit.runtime.watch import BAR_AFTER
from labkit.view import View
from labkit.views.progress import Progress, progress

CANCEL_SECONDS = 2.0
"""A rank that has not left a cancelled run by then is in a call that cannot be left: replaced."""
EXIT_SECONDS = 2.0


class Driver:
    """One cluster. Public methods may be called from any thread but the loop's."""

    def __init__(
        self,
        placement: Placement,
        launcher: Any,
        loop: Loop,
        directory: Path | None,
        seed: int,
        deadline: float,
        patience: float,
        protocols: bytes,
        silence: float | None,
        max_restarts: int,
    ) -> None:
        self.placement, self.launcher, self.loop = placement, launcher, loop
        self.directory, self.seed, self.protocols = directory, seed, protocols
        self.silence, self.restarts_left = silence, max_restarts
        # The voters have disks, also where no record is kept.
        self._borrowed = "" if directory else tempfile.mkdtemp(prefix="labkit-")
        self.folder = str(directory or self._borrowed)
        self.deadline, self.patience = deadline, patience
        self.world_size = self.witness = len(placement.ranks)
        self.token = secrets.token_bytes(32)
        self.changed = threading.Condition()
        self.seats = Seats(self.world_size)
        self.processes: set[Process] = set()
        self.closed = False
        self.in_block = False  # of `with Cluster(…)`, which closes it
        self.run: Run | None = None
        self._numbers = itertools.count(1)
        self._timed: list[Any] = []
        self._start: Start | None = None  # of the run under way
        self.in_force: list[faults.Fault] = []
        self.console = Console()
        path = directory / "events" / "driver.jsonl" if directory else None
        self.log = EventLog(events.DRIVER, path=path, stream=self._keep)
        self.loop.call(self._listen)
        try:
            self._launch(list(self.seats.values()))
        except BaseException:
            self.close()
            raise

    def _listen(self) -> None:
        self._listener = wire.listen(
            self.loop, self.token, CODEC, lambda c: None, self._on_message, self._on_close
        )
        host, port = self._listener.getsockname()[:2]
        self.join = f"{host}:{port}"

    # -- starting

    def _launch(self, seats: list[Seat]) -> None:
        environment = {**os.environ, "LABKIT_TOKEN": self.token.hex()}
        members = [(seat.rank, seat.life) for seat in seats]
        start = self.launcher.start
        started = start(self.join, members, environment, self.console.take, self._on_exit)
        with self.changed:
            self.processes |= {process for process in started if process.code is None}

    def wait_ready(self, seconds: float) -> None:
        """Until every living rank has installed the same view of all of them. Raises RuntimeError
        with what the workers said when one of them ends before that."""
        end = time.monotonic() + seconds
        buried = [seat for seat in self.seats.values() if seat.died]
        bar: Progress[None] = progress(
            total=self.world_size, description="starting", unit="rank", after=BAR_AFTER
        )
        with self.changed, bar:
            while not self.seats.agree():
                bar.to(sum(seat.view.number > 0 for seat in self.seats.values()))
                died = [s for s in self.seats.values() if s.died and s not in buried]
                early = [s for s in died if s.view.number == 0 and not s.witness]
                if early:
                    said = "\n".join(self.console.last_words)
                    raise RuntimeError(f"a worker did not start: {early[0].died}. It said:\n{said}")
                if time.monotonic() > end:
                    raise RuntimeError(
                        f"the ranks have not agreed on a view within {seconds:g} s: "
                        + self.seats.who_is_missing()
                    )
                self.changed.wait(0.2)

    def living(self) -> tuple[int, ...]:
        """The ranks that are not dead; the witness is none."""
        return self.seats.living()

    def _on_hello(self, connection: wire.Connection, hello: Hello) -> None:
        seat = self.seats.get(hello.member.rank)
        if seat is None or seat.life != hello.member.life or seat.connection is not None:
            return connection.close()
        connection.peer = seat
        seat.connection, seat.address = connection, hello.address
        seat.pid, seat.host = hello.pid, hello.host
        home = self.placement.home(seat.rank)
        if self.directory is not None:
            seat.file = self.directory / "events" / f"rank{seat.rank}.{seat.life}.jsonl"
        file = str(seat.file) if seat.file else None
        start = self._start_for_joiner(seat)
        welcome = Welcome(
            self.world_size,
            home.backend,
            home.device,
            home.visible,
            file,
            self.folder,
            self.protocols,
            self.silence,
            joins=start is not None,
        )
        connection.send(welcome)
        if start is not None:
            connection.send(start)
        for fault in self.in_force:
            connection.send(Inject(fault))
        with self.changed:
            seat.state = "ready"
            self.changed.notify_all()
        self._send_roster()

    def _start_for_joiner(self, seat: Seat) -> Start | None:
        """What a new life is told of an elastic run that is under way. Of the planned faults those
        come that strike at a later step than an earlier life has reached."""
        run, start = self.run, self._start
        if run is None or start is None or not start.elastic or seat.witness:
            return None
        if not run.rejoin(seat.rank):
            return None
        death = run.deaths.get(seat.rank)
        reached = death.step or 0 if death is not None else 0
        plan = [entry for entry in start.plan if entry.step is not None and entry.step > reached]
        return msgspec.structs.replace(start, view=0, members=(), plan=plan)

    def _send_roster(self) -> None:
        """Once all that are on their way have said where they are."""
        there = [s for s in self.seats.values() if s.state != "dead"]
        if all(seat.address for seat in there):
            self.broadcast(Roster([(s.member, s.address) for s in there if s.address]))

    # -- what workers say

    def _on_message(self, connection: wire.Connection, message: Any) -> None:
        if isinstance(message, Hello):
            return self._on_hello(connection, message)
        seat: Seat | None = connection.peer
        if seat is None:
            return wire.reject("out of turn")
        match message:
            case Happened(happened):
                self._take(seat, happened)
            case Installed(number, members):
                with self.changed:
                    seat.view = View(number, members)
                    self.changed.notify_all()
            case Finished(run, result, tired):
                self._on_outcome(seat, run, result, tired)
            case Failed(run, kind, text, trace, step, error, tired):
                raised = Raised(seat.rank, kind, text, trace, step, error)
                self._on_outcome(seat, run, raised, tired)
            case Inspected(record):
                with self.changed:
                    seat.record = record
                    self.changed.notify_all()
            case Strike(fault):
                inject(self, fault)

    def _on_outcome(self, seat: Seat, number: int, outcome: Raised | bytes, tired: bool) -> None:
        seat.doing = ""
        seat.replaced = tired  # known before anyone can start another run on it
        if self.run is not None and self.run.number == number:
            self._end_on(seat.rank, outcome)
        if tired:
            inject(self, faults.Restart(seat.rank))

    def _end_on(self, rank: int, outcome: Died | Raised | bytes) -> None:
        """The run is over on this rank; when it is over on all, what was planned is off."""
        if self.run is not None:
            self.run.end(rank, outcome)
            if self.run.done:
                for timer in self._timed:
                    timer.cancel()

    def _take(self, seat: Seat, happened: list[Event]) -> None:
        fresh = [e for e in happened if e.clock > seat.clock]
        for event in fresh:
            seat.clock = event.clock
            if event.kind == "step":
                seat.step = event.data.get("step")
            if event.kind == "begin":
                seat.doing = event.name
            if event.kind == "straggler":
                seat.slow = event.data["factor"]
        if fresh:
            self.log.witness(fresh[-1].clock)
        if self.run is not None and fresh:
            self.run.add(fresh)

    def _keep(self, event: Event) -> None:
        if self.run is not None:
            self.run.add([event])

    # -- deaths

    def _on_exit(self, process: Process, code: int) -> None:
        with self.changed:
            self.processes.discard(process)
            self.changed.notify_all()
        for rank, life in process.members:
            seat = self.seats[rank]
            if seat.life == life:
                self._bury(seat, code)

    def _on_close(self, connection: wire.Connection) -> None:
        seat: Seat | None = connection.peer
        if seat is None:
            return
        if self.launcher.name == "local":  # which knows the cause: its word should come soon
            self.loop.call_later(EXIT_SECONDS, lambda: self._bury(seat, None))
        else:
            self._bury(seat, -signal.SIGKILL if seat.killed else None)

    def _bury(self, seat: Seat, code: int | None) -> None:
        if seat.state == "dead":
            return
        if self.closed:
            seat.state = "dead"
            return
        with contextlib.suppress(OSError, msgspec.DecodeError):
            if seat.file is not None and seat.file.exists():
                self._take(seat, events.read(seat.file))  # its last words, which were not sent
        ended = Died(seat.rank, *how_it_ended(code), seat.step)
        with contextlib.suppress(OSError):  # a full disk is no reason to wait for the dead
            self.log.record(
                "death", ended.signal or "", rank=seat.rank, signal=ended.signal, code=code,
                step=seat.step,
            )  # fmt: skip
        if seat.connection is not None:
            seat.connection.close()
        with self.changed:
            seat.state, seat.died = "dead", ended
            self.changed.notify_all()
        again = self._may_restart(seat)
        if again and not seat.witness and self.run is not None:
            self.run.lose(seat.rank, ended)
        else:
            self._end_on(seat.rank, ended)
        self._send_roster()
        if again:
            self.restarts_left -= 1
            self.log.record("note", f"the launcher starts {seat.name} anew")
            self.seat_anew(seat)

    def _may_restart(self, seat: Seat) -> bool:
        """Whether the launcher gives the rank, or the witness, another life by itself."""
        run = self.run
        busy = run is not None and not run.done and not run.cancelled
        elastic = self._start is not None and self._start.elastic
        return busy and elastic and not seat.replaced and self.restarts_left > 0

    # -- runs

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
        self.wait_ready(self.patience)
        with self.changed:
            ranks = self.living()
            view = self.seats[ranks[0]].view if ranks else View(0, ())
        if not ranks:
            raise RuntimeError("every rank is dead: cluster.restart(0), or make a new cluster")
        run = Run(self, next(self._numbers), ranks, name)

        def begin() -> None:
            self.run = run
            for seat in self.seats.values():
                seat.step = None
                if seat.died is not None:  # since the view was read
                    run.end(seat.rank, seat.died)
            entries = list(plan.entries)
            how = payload, entries, seed, deadline, elastic
            self._start = Start(run.number, view.number, view.members, *how)
            self.broadcast(self._start, ranks)
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
        self.wait_ready(seconds)

    def seat_anew(self, seat: Seat) -> None:
        with self.changed:
            self.seats[seat.rank] = Seat(seat.rank, seat.life + 1, witness=seat.witness)
            self.changed.notify_all()
        self._launch([self.seats[seat.rank]])

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
            self._wait_gone(EXIT_SECONDS)
        finally:  # also when this is interrupted
            for process in list(self.processes):
                if process.pid is not None and process.code is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
            self._wait_gone(EXIT_SECONDS)
            self.loop.call(self._end_conversations)
            self.log.close()
            if self._borrowed:
                shutil.rmtree(self._borrowed, ignore_errors=True)

    def _say_goodbye(self) -> None:
        for timer in self._timed:
            timer.cancel()
        for seat in self.seats.values():
            if seat.state == "paused":  # it could not hear
                with self.changed:
                    seat.send(signal.SIGKILL)
        self.broadcast(Shutdown())
        self.loop.unwatch(self._listener)
        self._listener.close()

    def _wait_gone(self, seconds: float) -> None:
        with self.changed:
            self.changed.wait_for(lambda: not self.processes, seconds)

    def _end_conversations(self) -> None:
        for rank in sorted(self.run.waiting) if self.run is not None else ():
            text = "the cluster was closed while the run was under way"
            self._end_on(rank, Raised(rank, "Cancelled", text, text, self.seats[rank].step))
        for seat in self.seats.values():
            if seat.connection is not None:
                seat.connection.close()
