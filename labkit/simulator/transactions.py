"""The scenarios of atomic commit: one coordinator, and one that is replicated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from labkit.protocols.effects import Broadcast, Effects, Protocol, SetTimer
from labkit.protocols.two_phase_commit import Begin, Coordinator, Participant, Prepare, Voted
from labkit.protocols.two_phase_commit.replicated import ReplicatedCoordinator
from labkit.simulator.invariants.commit import INVARIANTS
from labkit.simulator.invariants.commit_progress import Forgets, Resolved, ResolvedByFailover
from labkit.simulator.node import Factory
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import KINDS, Schedule, swarm
from labkit.simulator.simulation import Simulation

# Who has voted yes and loses its disk has broken its promise, whatever the protocol.
KEPT_DISKS = tuple(kind for kind in KINDS if kind != "wipe")
TELLER = 1000


class Clerk(Participant):
    """Votes no where the payload names it; for every third transaction it needs some time."""

    def prepare(self, m: Prepare) -> bool | None:
        if self.me in m.payload:
            return False
        return None if m.transaction % 3 == 0 else True

    def on_prepare(self, coordinator: int, m: Prepare) -> Effects:
        yield from super().on_prepare(coordinator, m)
        if m.transaction in self.preparing:
            yield SetTimer("written", self.context.random.uniform(0, 0.1), m.transaction)

    def on_written(self, transaction: int) -> Effects:
        yield from self.on_voted(self.me, Voted(transaction, True))


class Teller(Protocol):
    """Begins a transaction now and then, with two participants or more; one in five is refused."""

    def __init__(self, *arguments: Any, coordinators: tuple[int, ...], clerks: tuple[int, ...]):
        super().__init__(*arguments)
        self.coordinators, self.clerks = coordinators, clerks
        self.stopped = False

    def on_start(self) -> Effects:
        yield self.think()

    def on_begin(self) -> Effects:
        if not self.stopped:
            draw = self.context.random
            clerks = draw.sample(self.clerks, draw.randint(2, len(self.clerks)))
            refusing = tuple(clerks[:1]) if draw.random() < 0.2 else ()
            yield Broadcast(self.coordinators, Begin(tuple(sorted(clerks)), refusing))
            yield self.think()

    def think(self) -> SetTimer:
        return SetTimer("begin", self.context.random.expovariate(4))


def one_coordinator(me: int, members: tuple[int, ...], *others: Any) -> Protocol:
    return (Clerk if me else Coordinator)(me, members, *others)


def teller(schedule: Schedule) -> Mapping[int, Factory]:
    clerks = tuple(range(1, schedule.n))
    return {TELLER: partial(Teller, coordinators=(0,), clerks=clerks)}


def resolved(sim: Simulation) -> None:
    sim.node(TELLER).stopped = True
    Resolved.judge(sim, within=5.0)
    Forgets.judge(sim, within=5.0)


COMMIT = Scenario(
    "COMMIT",
    one_coordinator,
    INVARIANTS,
    teller,
    resolved,
    draw=partial(swarm, kinds=KEPT_DISKS),
)


# -- on three replicas

REPLICAS, CLERKS = 3, 3


def replicas(me: int, members: tuple[int, ...], *others: Any) -> Protocol:
    """Short messages and early snapshots, so that a short run has many of both."""
    if me in members:
        return ReplicatedCoordinator(me, members, *others, batch=3, compact=20)
    return Clerk(me, members, *others, coordinators=members)


replicas.found = ReplicatedCoordinator.found  # type: ignore[attr-defined]


def teller_of_replicas(schedule: Schedule) -> Mapping[int, Factory]:
    coordinators = tuple(range(REPLICAS))
    clerks = tuple(range(REPLICAS, REPLICAS + CLERKS))
    return {TELLER: partial(Teller, coordinators=coordinators, clerks=clerks)}


def faults_for_all(seed: int) -> Schedule:
    drawn = swarm(seed, sizes=(REPLICAS + CLERKS,), kinds=KEPT_DISKS)
    return msgspec.structs.replace(drawn, n=REPLICAS)


def resolved_by_replicas(sim: Simulation) -> None:
    """A fail-over (ten election time-outs at most), the wait before one asks again, a round."""
    sim.node(TELLER).stopped = True
    ResolvedByFailover.judge(sim, within=10 * 0.3 + 0.5 + 0.1)
    Forgets.judge(sim, within=5.0)


REPLICATED_COMMIT = Scenario(
    "REPLICATED_COMMIT",
    replicas,
    INVARIANTS,
    teller_of_replicas,
    resolved_by_replicas,
    spares=CLERKS,
    draw=faults_for_all,
)
