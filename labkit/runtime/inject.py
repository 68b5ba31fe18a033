"""Which faults can be done to a cluster, and how: signals by the driver, link faults by the
workers, or by the network where they have hosts of their own."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from labkit import faults
from labkit.runtime.messages import Inject
from labkit.runtime.seat import Seat

if TYPE_CHECKING:
    from labkit.runtime.driver import Driver

REAP_SECONDS = 0.01
SIGNALS = (faults.Kill, faults.Pause, faults.Resume, faults.Preempt, faults.Restart)


def inject(driver: Driver, fault: faults.Fault) -> None:
    """Does to the cluster what the fault says, records it, and tells every worker. Any thread."""
    if isinstance(fault, faults.Heal):
        driver.log.record("heal")
    else:
        driver.log.record("fault", str(fault), **faults.describe(fault))
    with driver.changed:
        _act(driver, fault)
    if driver.links is not None:
        driver.links.strike(fault)
    driver.loop.call_soon(driver.broadcast, Inject(fault))


def check(driver: Driver, fault: faults.Fault) -> None:
    """Raises ValueError for what cannot be done to this cluster."""
    if isinstance(fault, faults.NeedsHosts) and driver.links is None:
        raise ValueError(f'{fault} needs hosts: make the cluster with hosts="namespaces"')
    strange = [rank for rank in faults.describe(fault)["ranks"] if rank not in driver.seats]
    if strange:
        raise ValueError(
            f"{fault}: there is no rank {strange[0]}; this cluster has ranks 0 to "
            f"{driver.world_size - 1}, and {driver.witness} is the witness"
        )


def check_reach(driver: Driver, fault: faults.Fault) -> None:
    """Raises ValueError where the fault is a signal, and none from here reaches the process."""
    seat = driver.seats[fault.rank] if isinstance(fault, SIGNALS) else None
    if seat is None or seat.state not in ("ready", "paused"):
        return
    if not driver.launcher.reaches(seat.host):
        raise ValueError(
            f"{fault}: {seat.name} is on {seat.host}, where launcher={driver.launcher.name!r} can "
            "start nothing: send the signal there, or delete its pod"
        )
    if seat.pid is None:
        raise ValueError(
            f"{fault}: the container of {seat.name} has process numbers of its own, and no signal "
            "from here reaches it: have it share those of its host, as docker does with --pid=host"
        )


def checked(driver: Driver, plan: faults.FaultPlan | Sequence[faults.At]) -> faults.FaultPlan:
    """The plan as the workers will read it. Raises ValueError for what they could not."""
    given = plan.entries if isinstance(plan, faults.FaultPlan) else plan
    try:
        entries = msgspec.convert(msgspec.to_builtins(list(given)), list[faults.At])
    except (TypeError, msgspec.ValidationError) as error:
        raise ValueError(f"{plan}: a plan is made of At(fault, step=3) ({error})") from None
    for entry in entries:
        check(driver, entry.fault)
        if entry.striker is not None and entry.striker not in driver.seats:
            raise ValueError(f"{entry}: there is no rank {entry.striker} to strike it")
    return faults.FaultPlan(*entries)


def _act(driver: Driver, fault: faults.Fault) -> None:
    match fault:
        case faults.Kill(rank):
            driver.seats[rank].send(signal.SIGKILL)
        case faults.Pause(rank, seconds):
            seat = driver.seats[rank]
            seat.send(signal.SIGSTOP)
            end = math.inf if seconds is None else time.monotonic() + seconds
            seat.stands_until = max(seat.stands_until, end)
            if seconds is not None:
                _later(driver, seconds, faults.Resume(rank), of=seat)
        case faults.Resume(rank):
            driver.seats[rank].send(signal.SIGCONT)
            driver.seats[rank].stands_until = 0.0
        case faults.Preempt(rank, grace):
            driver.seats[rank].send(signal.SIGTERM)
            _later(driver, grace, faults.Kill(rank), of=driver.seats[rank])
        case faults.HoldGIL() | faults.PoisonGradient() | faults.CorruptWeights():
            pass  # the rank does it to itself, once
        case faults.Restart(rank):
            driver.seats[rank].replaced = True
            driver.loop.call_soon(_replace, driver, driver.seats[rank])
        case faults.LinkDown(rank, seconds):
            if seconds is not None:
                _later(driver, seconds, faults.LinkUp(rank))
        case faults.LinkUp():
            pass
        case faults.Heal():
            driver.in_force.clear()
        case _:
            driver.in_force.append(fault)


def _later(driver: Driver, seconds: float, fault: faults.Fault, of: Seat | None = None) -> None:
    """Unless the life that it is meant for, if it is, has ended by then; nor does a rank go on that
    does so already, or that another pause holds for longer."""

    def strike() -> None:
        over = of is not None and (of.state == "dead" or driver.seats[of.rank] is not of)
        if of is not None and isinstance(fault, faults.Resume):
            over = over or not 0.0 < of.stands_until <= time.monotonic()
        if not driver.closed and not over:
            inject(driver, fault)

    driver.loop.call_soon(driver.loop.call_later, seconds, strike)


def _replace(driver: Driver, seat: Seat) -> None:
    """Launches the rank's next life once this one is over. The loop's thread only."""
    if driver.closed or driver.seats[seat.rank] is not seat:
        return
    if seat.state == "dead":
        driver.supervisor.seat_anew(seat)
        return
    with driver.changed:
        seat.send(signal.SIGKILL)
    driver.loop.call_later(REAP_SECONDS, lambda: _replace(driver, seat))
