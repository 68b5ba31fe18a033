"""How far heartbeats of all to all go, and SWIM: detection time and messages by number of members.

`swim(n)` simulates all n members (10 000 of them for 30 s of virtual time: about 8 s of one core,
120 MB). `heartbeats(n)` does not: 10 000 members that all beat to all send 10⁸ messages in each
interval. What an observer notices depends only on the beats that it gets from the victim, so a
sample of members is simulated, as a small cluster of its own, and the other messages are counted,
which leaves out that a member with too many messages to read reads them late (`busy`).
"""

from __future__ import annotations

from functools import partial
from statistics import median

from msgspec import Struct

from labkit.faults import At, FaultPlan, Kill
from labkit.protocols.effects import Record
from labkit.protocols.heartbeat import FixedTimeout, Heartbeat
from labkit.protocols.swim import Swim
from labkit.simulator.invariants import Invariant
from labkit.simulator.simulation import Simulation
from labkit.views.progress import Progress, progress

CRASH = 3.0
"""Seconds after the start."""


class Scale(Struct, frozen=True):
    """`noticed` has the seconds from the crash until each simulated member declared the victim
    dead, in order; `messages` are those that one member sends in a second."""

    protocol: str
    members: int
    simulated: int
    noticed: tuple[float, ...]
    messages: float

    @property
    def first(self) -> float:
        return self.noticed[0]

    @property
    def median(self) -> float:
        return median(self.noticed)

    @property
    def last(self) -> float:
        return self.noticed[-1]

    def busy(self, cost: float) -> float:
        """The share of a core that its messages take, at `cost` seconds to send or to read one."""
        return 2 * self.messages * cost


class Noticed(Invariant):
    """Not a promise, only a list: when each member first declared somebody dead."""

    name, title = "noticed", "when who was declared dead"

    def __init__(self) -> None:
        self.times: dict[int, float] = {}

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        dead = "lost" if isinstance(sim.node(i), Swim) else "suspect"
        if record.kind == dead:
            self.times.setdefault(i, sim.now - CRASH)


def swim(n: int, period: float = 1.0, seed: int = 0) -> Scale:
    """All of n members; one crashes. Runs until all others have declared it faulty."""
    noticed = Noticed()
    sim = Simulation(
        partial(Swim, period=period, timeout=0.3 * period),
        n,
        seed,
        FaultPlan(At(Kill(n // 2), seconds=CRASH)),
        invariants=(lambda: noticed,),  # type: ignore[arg-type]
    )
    bar: Progress[int] = progress(
        description=f"SWIM, {n:,} members", total=n - 1, unit="member", after=2.0
    )
    with bar:
        while len(noticed.times) < n - 1:
            sim.run(period)
            bar.to(len(noticed.times))
            if sim.now > 500 * period:
                raise RuntimeError(f"{len(noticed.times)} of {n - 1} members have noticed")
    times = tuple(sorted(noticed.times.values()))
    return Scale("SWIM", n, n, times, sim.delivered / n / sim.now)


def heartbeats(
    n: int, interval: float = 1.0, timeout: float = 4.0, sample: int = 30, seed: int = 0
) -> Scale:
    """A sample of n members, the crashed one among them; the messages of the others are counted."""
    noticed = Noticed()
    small = min(n, sample)
    protocol = partial(
        Heartbeat, interval=interval, detector=partial(FixedTimeout, timeout=timeout)
    )
    plan = FaultPlan(At(Kill(small // 2), seconds=CRASH))
    sim = Simulation(protocol, small, seed, plan, invariants=(lambda: noticed,))  # type: ignore[arg-type]
    sim.run(CRASH + timeout + 3 * interval)
    times = tuple(sorted(noticed.times.values()))
    return Scale("heartbeats of all to all", n, small, times, (n - 1) / interval)
