"""The scenarios of atomic commit: one coordinator, and one that is replicated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any

import msgspec

from labkit.faults import At, Partition
from labkit.protocols.effects import Broadcast, Effects, Protocol, SetTimer
from labkit.protocols.three_phase_commit import ThreePhaseCommit
from labkit.protocols.two_phase_commit import (
    Begin,
    Coordinator,
    Participant,
    Prepare,
    Voted,
    two_phase_commit,
)
from labkit.protocols.two_phase_commit.messages import Ranks
from labkit.protocols.two_phase_commit.replicated import ReplicatedCoordinator
from labkit.simulator.invariants.commit import INVARIANTS, Agreement, Stability
from labkit.simulator.invariants.commit_progress import Forgets, Resolved, ResolvedByFailover
from labkit.simulator.network import Network
from labkit.simulator.node import Factory
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import KEPT_DISKS, Schedule, swarm
from labkit.simulator.simulation import Simulation

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

    def __init__(self, *arguments: Any, coordinators: Ranks, clerks: Ranks):
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


def one_coordinator(me: int, members: Ranks, *others: Any) -> Protocol:
    return (Clerk if me else Coordinator)(me, members, *others)


def teller(schedule: Schedule) -> Mapping[int, Factory]:
    clerks = tuple(range(1, schedule.n))
    return {TELLER: partial(Teller, coordinators=(0,), clerks=clerks)}


def resolved(sim: Simulation) -> None:
    sim.node(TELLER).stopped = True
    healed(sim)


def healed(sim: Simulation) -> None:
    Resolved.judge(sim, within=5.0)
    Forgets.judge(sim, within=5.0)


# Who has voted yes and loses its disk has broken its promise, whatever the protocol.
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


def replicas(me: int, members: Ranks, *others: Any) -> Protocol:
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


# -- in three phases: no message takes longer than 0.02 s, which is all that it asks for

IN_TIME = Network(low=0.005, high=0.02)


def crashes(seed: int) -> Schedule:
    kinds = ("crash", "crash leader", "crash inside")
    drawn = swarm(seed, sizes=(3, 4), kinds=kinds, seconds=5.0)
    return msgspec.structs.replace(drawn, network=IN_TIME)


THREE_PHASES = Scenario(
    "THREE_PHASES", ThreePhaseCommit, (Agreement, Stability), teller, draw=crashes
)


class Once(Protocol):
    """Begins one transaction, at a time in seconds."""

    def __init__(
        self,
        *arguments: Any,
        coordinators: Ranks,
        clerks: Ranks,
        payload: Any = None,
        at: float = 1.0,
    ):
        super().__init__(*arguments)
        self.coordinators, self.wish, self.at = coordinators, Begin(clerks, payload), at

    def on_start(self) -> Effects:
        yield SetTimer("begin", self.at - self.context.now)

    def on_begin(self) -> Effects:
        yield Broadcast(self.coordinators, self.wish)


def once(schedule: Schedule) -> Mapping[int, Factory]:
    return {TELLER: partial(Once, coordinators=(0,), clerks=tuple(range(1, schedule.n)))}


def a_partition(seed: int) -> Schedule:
    """One, at some moment of the transaction."""
    draw = Random(f"a partition/{seed}")
    order = draw.sample(range(4), 4)
    cut = draw.randrange(1, 4)
    groups = tuple(sorted(order[:cut])), tuple(sorted(order[cut:]))
    when = round(1.0 + draw.uniform(0.0, 0.1), 3)
    return Schedule(seed, 4, (At(Partition(groups), seconds=when),), IN_TIME, seconds=3.0)


THREE_PHASES_APART = Scenario(
    "THREE_PHASES_APART", ThreePhaseCommit, (Agreement,), once, draw=a_partition
)

TWO_PHASES_APART = THREE_PHASES_APART._replace(
    name="TWO_PHASES_APART", protocol=two_phase_commit, invariants=INVARIANTS, progress=healed
)
