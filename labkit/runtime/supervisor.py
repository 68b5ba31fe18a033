"""Who starts the processes of a cluster, gives each its seat, hears of its end, and replaces it.

All of this is the launcher's job, as it is for torchrun, Slurm or Kubernetes: the workers agree by
themselves on what a death means.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import msgspec

from labkit import events, faults
from labkit.runtime import wire
from labkit.runtime.inject import inject
from labkit.runtime.judge import EXIT_SECONDS, Judge
from labkit.runtime.launch.process import Process
from labkit.runtime.messages import Hello, Inject, Roster, Start, Welcome
from labkit.runtime.restarts import Failure, GiveUp, Restart, Restarts
from labkit.runtime.run import HARMLESS, Died, Raised, how_it_ended
from labkit.runtime.seat import Seat
from labkit.runtime.spares import Spares
from labkit.runtime.watch import BAR_AFTER
from labkit.views.progress import Progress, progress

if TYPE_CHECKING:
    from labkit.runtime.driver import Driver

HOST_LOST = "the loss of its host"


class Supervisor:
    """Of the processes of `driver`, on whose loop it works; ranks that die in an elastic run get
    another life `max_restarts` times in all, that of a spare if there is one."""

    def __init__(self, driver: Driver, max_restarts: int, spares: int) -> None:
        self.driver = driver
        each = driver.launcher.replaces
        self.restarts = Restarts(max_restarts, cycles=5, first=0.1, forget=5.0, each=each)
        self.processes: set[Process] = set()
        driver.launcher.on_loss = self._on_loss
        self.judge = Judge(driver, self._lose_with_host, max_restarts > 0)
        self.spares = Spares(driver, spares, lambda number: self._start([(number, 0)])[0])

    # -- starting

    def launch(self) -> None:
        """All seats, and spares behind them."""
        self._start([(seat.rank, seat.life) for seat in self.driver.seats.values()])
        self.driver.loop.call_soon(self.spares.restock)

    def _start(self, members: list[tuple[int, int]]) -> list[Process]:
        driver = self.driver
        environment = {**os.environ, "LABKIT_TOKEN": driver.token.hex()}
        start = driver.launcher.start
        started = start(driver.join, members, environment, driver.console.take, self._on_exit)
        with driver.changed:
            self.processes |= {process for process in started if process.code is None}
        return started

    def wait_ready(self, seconds: float, new: bool = False) -> None:
        """Until every living rank has installed the same view of all of them. Raises RuntimeError
        with what the workers said when one of them ends before that; of a `new` cluster also those
        that have ended by now."""
        driver = self.driver
        end = time.monotonic() + seconds
        buried = [seat for seat in driver.seats.values() if seat.died and not new]
        bar: Progress[None] = progress(
            total=driver.world_size, description="starting", unit="rank", after=BAR_AFTER
        )
        with driver.changed, bar:
            while True:
                bar.to(sum(seat.view.number > 0 for seat in driver.seats.values()))
                died = [s for s in driver.seats.values() if s.died and s not in buried]
                early = [s for s in died if s.view.number == 0 and not s.witness]
                if early:
                    said = "\n".join(driver.console.last_words)
                    raise RuntimeError(f"a worker did not start: {early[0].died}. It said:\n{said}")
                if driver.seats.agree():
                    return
                if time.monotonic() > end:
                    said = "\n".join(driver.console.last_words)
                    raise RuntimeError(
                        f"the ranks have not agreed on a view within {seconds:g} s: "
                        + driver.seats.who_is_missing()
                        + (f". They, or who starts them, said:\n{said}" if said else "")
                    )
                driver.changed.wait(0.2)

    def on_hello(self, connection: wire.Connection, hello: Hello) -> None:
        if hello.member.rank < 0:
            return self.spares.on_hello(connection, hello)
        seat = self.driver.seats.get(hello.member.rank)
        if seat is not None and hello.member.life < 0:
            seat = self._next_life(seat)
        elif seat is None or seat.life != hello.member.life or seat.connection is not None:
            return connection.close()
        self._admit(connection, hello, seat)

    def _next_life(self, seat: Seat) -> Seat:
        """Of a rank that somebody else has started (anew), without counting."""
        if seat.state == "starting":
            return seat
        self._bury(seat, None)  # whose process is not there any more, if its new one is
        return self._new_seat(seat)

    def _new_seat(self, seat: Seat) -> Seat:
        new = Seat(seat.rank, seat.deliver, seat.life + 1, witness=seat.witness)
        with self.driver.changed:
            self.driver.seats[seat.rank] = new
            self.driver.changed.notify_all()
        return new

    def _admit(self, connection: wire.Connection, hello: Hello, seat: Seat) -> None:
        """Tells the process all that the seat implies, and the others where it is."""
        driver = self.driver
        connection.peer = seat
        seat.connection, seat.address = connection, hello.address
        seat.host = hello.host
        if driver.launcher.meet(hello.host, hello.pid, hello.began):
            seat.pid = hello.pid
        if driver.directory is not None:
            seat.file = driver.directory / "events" / f"rank{seat.rank}.{seat.life}.jsonl"
        start = self._start_for_joiner(seat)
        connection.send(self._welcome(seat, joins=start is not None))
        if start is not None:
            connection.send(start)
        if driver.links is not None:
            driver.links.enforce()
        for fault in driver.in_force:
            connection.send(Inject(fault))
        with driver.changed:
            seat.state = "ready"
            driver.changed.notify_all()
        seat.host_clock.ask(connection.send)
        self._send_roster()

    def _welcome(self, seat: Seat, joins: bool) -> Welcome:
        driver = self.driver
        home = driver.placement.home(seat.rank)
        return Welcome(
            seat.member,
            driver.world_size,
            home.backend,
            home.device,
            home.visible,
            home.slot,
            str(seat.file) if seat.file else None,
            driver.folder,
            driver.protocols,
            driver.silence,
            joins,
            driver.links is not None,
        )

    def _start_for_joiner(self, seat: Seat) -> Start | None:
        """What a new life is told of an elastic run that is under way. Of the planned faults those
        come that strike at a later step than an earlier life has reached."""
        run, start = self.driver.elastic_run, self.driver.start_message
        if run is None or start is None or seat.witness or not run.rejoin(seat.rank):
            return None
        death = run.deaths.get(seat.rank)
        reached = death.step or 0 if death is not None else 0
        plan = [entry for entry in start.plan if entry.step is not None and entry.step > reached]
        return msgspec.structs.replace(start, view=0, members=(), plan=plan)

    def _send_roster(self) -> None:
        """Once all that are on their way have said where they are."""
        there = [s for s in self.driver.seats.values() if s.state != "dead"]
        if all(seat.address for seat in there):
            self.driver.broadcast(Roster([(s.member, s.address) for s in there if s.address]))

    def seat_anew(self, seat: Seat) -> None:
        """The rank's next life: that of a spare, or of a process that starts now."""
        new = self._new_seat(seat)
        spare = None if seat.witness else self.spares.take()
        if spare is None or spare.connection is None or spare.hello is None:
            self._start([new.member])
        else:
            spare.process.become(new.member)
            self._admit(spare.connection, spare.hello, new)

    # -- deaths

    def _on_exit(self, process: Process, code: int) -> None:
        with self.driver.changed:
            self.processes.discard(process)
            self.driver.changed.notify_all()
        for rank, life in process.members:
            if rank < 0:
                self.spares.lost(rank)
                continue
            seat = self.driver.seats[rank]
            if seat.life == life:
                self._bury(seat, code)

    def _on_loss(self, members: list[tuple[int, int]]) -> None:
        for rank, life in members:
            if rank >= 0 and self.driver.seats[rank].life == life:
                self._lose_with_host(self.driver.seats[rank])

    def _lose_with_host(self, seat: Seat) -> None:
        """Its process cannot be reached: should it be heard again, its life is over."""
        self._bury(seat, None, HOST_LOST)

    def on_close(self, connection: wire.Connection) -> None:
        seat: Seat | None = connection.peer
        if seat is None:
            return self.spares.on_close(connection)
        if self.driver.launcher.name == "local":  # it knows the cause: its word should come soon
            self.driver.loop.call_later(EXIT_SECONDS, lambda: self._bury(seat, None))
        else:
            self._bury(seat, -signal.SIGKILL if seat.killed else None)

    def _bury(self, seat: Seat, code: int | None, cause: str | None = None) -> None:
        driver = self.driver
        if seat.state == "dead":
            return
        if driver.closed:
            seat.state = "dead"
            return
        with contextlib.suppress(OSError, msgspec.DecodeError):
            if seat.file is not None and seat.file.exists():
                driver.take(seat, events.read(seat.file))  # its last words, which were not sent
        signal_name, code = how_it_ended(code)
        ended = Died(seat.rank, cause or signal_name, code, seat.step)
        with contextlib.suppress(OSError):  # a full disk is no reason to wait for the dead
            driver.log.record(
                "death", ended.signal or "", rank=seat.rank, signal=ended.signal, code=code,
                step=seat.step,
            )  # fmt: skip
        if seat.connection is not None:
            seat.connection.close()
        with driver.changed:
            seat.state, seat.died = "dead", ended
            driver.changed.notify_all()
        self._go_on_without(seat, ended)

    def _go_on_without(self, seat: Seat, ended: Died) -> None:
        """The run does, and may have another life of the rank soon; not of one that has left in
        good order, with code 0."""
        run = self.driver.elastic_run
        returns = run is not None and self._returns(seat, ended)
        if run is not None and (seat.replaced or returns) and not seat.witness:
            run.lose(seat.rank, ended)
        else:
            self.driver.end_on(seat.rank, ended)
        self._send_roster()

    def bring_back(self) -> None:
        """Those who died while there was no elastic run, as one begins."""
        for seat in list(self.driver.seats.values()):
            if seat.died is not None:
                self._returns(seat, seat.died)

    def _returns(self, seat: Seat, ended: Died) -> bool:
        """Whether the launcher starts it anew, which it does soon."""
        if seat.replaced or ended.code == 0:
            return False
        restart = self._decide(seat, ended.signal or f"exit code {ended.code}")
        if restart is not None and not self.driver.launcher.replaces:
            self.driver.loop.call_later(restart.after, lambda: self._start_anew(seat))
        return restart is not None

    def retries(self, seat: Seat, raised: Raised) -> bool:
        """Whether a rank whose function raised is given another life; then its error is shown."""
        if self.driver.elastic_run is None or raised.kind in HARMLESS:
            return False
        restart = self._decide(seat, f"{raised.kind}: {raised.message}")
        if restart is None:
            return False
        self.driver.log.record("note", str(raised))
        for line in f"{raised}\n{raised.trace}".rstrip().splitlines():
            self.driver.console.take(seat.rank, line)
        self.driver.loop.call_later(restart.after, lambda: self._start_anew(seat))
        return True

    def _decide(self, seat: Seat, cause: str) -> Restart | None:
        """None: no further life."""
        if not self.restarts.limit:
            return None
        failure = Failure(seat.rank, seat.host, cause, time.monotonic(), seat.step)
        decision = self.restarts.decide(failure)
        if isinstance(decision, Restart) and seat.host not in decision.without:
            return decision
        why = decision.why if isinstance(decision, GiveUp) else f"{seat.host} is broken: {failure}"
        self.driver.log.record("note", why)
        self.driver.console.take(seat.rank, why)
        return None

    def _start_anew(self, seat: Seat) -> None:
        """Unless something else has been done about it meanwhile."""
        driver = self.driver
        if driver.closed or driver.seats[seat.rank] is not seat or seat.replaced:
            return
        driver.log.record("note", f"the launcher starts {seat.name} anew")
        if seat.state == "dead":
            self.seat_anew(seat)
        else:
            inject(driver, faults.Restart(seat.rank))  # its function is over, its process lives

    # -- the end

    def wait_gone(self) -> bool:
        """Whether all processes have ended within a reasonable time."""
        with self.driver.changed:
            return self.driver.changed.wait_for(lambda: not self.processes, EXIT_SECONDS)

    def kill_all(self) -> None:
        for process in list(self.processes):
            process.end()
