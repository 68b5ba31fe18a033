"""The lab's protocols with their clients, invariants, and what they must do once all is well."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import msgspec

from labkit.faults import LEADER, At, Cut, Fault, Heal, Kill, Partition, Revive
from labkit.protocols.effects import Broadcast, Effects, Protocol, SetTimer, Stored
from labkit.protocols.raft import Raft
from labkit.protocols.raft.client import Client
from labkit.protocols.raft.machine import (
    Append,
    Command,
    CompareAndSet,
    Get,
    Put,
)
from labkit.protocols.raft.membership import ChangeMembership
from labkit.protocols.raft.messages import Entry
from labkit.protocols.raft.transfer import TransferLeadership
from labkit.simulator.checkpoints import CHECKPOINTS  # noqa: F401 - so that its name is known
from labkit.simulator.detection import (  # noqa: F401 - so that their names are known
    DROWSY_SWIM,
    HEARTBEAT,
    SWIM,
    TIMEOUT,
)
from labkit.simulator.invariants.raft import INVARIANTS
from labkit.simulator.membership import VIEWS  # noqa: F401 - as above
from labkit.simulator.network import Network
from labkit.simulator.node import Factory
from labkit.simulator.raft_progress import (
    DEAF,
    ELECTED,
    ElectedBeside,
    Linearizable,
    raft_progress,
)
from labkit.simulator.replicas import (  # noqa: F401 - so that their names are known
    BLOCKS,
    HASTY_QUORUM,
    PRIMARY_BACKUP,
    QUORUM,
)
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import KEPT_DISKS, Schedule, swarm
from labkit.simulator.steps import STEPS  # noqa: F401 - as above
from labkit.simulator.transactions import (  # noqa: F401 - as above
    COMMIT,
    REPLICATED_COMMIT,
    THREE_PHASES,
    THREE_PHASES_APART,
    TWO_PHASES_APART,
)

CLIENTS = (1000, 1001, 1002)


def draw_command(random: Random, serial: int) -> Command:
    """Two reads in five; appends, since every later read shows whether one was done twice."""
    key = f"key{random.randrange(3)}"
    kind = random.random()
    if kind < 0.4:
        return Get(key)
    if kind < 0.7:
        return Append(key, f"{serial}.")
    if kind < 0.85:
        return Put(key, f"{serial}:")
    return CompareAndSet(key, f"{serial - 1}:", f"{serial}!")


def raft_clients(schedule: Schedule) -> dict[int, Factory]:
    return dict.fromkeys(CLIENTS, partial(Client, choose=draw_command, pause=0.15))


# Short messages and early snapshots, so that a short run has many of both.
SMALL = partial(Raft, batch=3, compact=20)

RAFT = Scenario("RAFT", SMALL, (*INVARIANTS, Linearizable), raft_clients, raft_progress)

# As in the paper: what PreVote and CheckQuorum prevent happens here, and must do no harm.
PLAIN_RAFT = Scenario(
    "PLAIN_RAFT",
    partial(SMALL, pre_vote=False, check_quorum=False),
    (*(i for i in INVARIANTS if i.name != "R-L4"), Linearizable),
    raft_clients,
    raft_progress,
)


def late(seed: int, kinds: tuple[str, ...], tail: float, tail_seconds: float) -> Schedule:
    """Five nodes that are often parted, and every third message a second late or so: what was said
    in one term arrives in the next but one."""
    network = Network(high=0.005, tail=tail, tail_seconds=tail_seconds)
    schedule = swarm(seed, sizes=(5,), kinds=kinds)
    return msgspec.structs.replace(schedule, network=network)


def many_clients(schedule: Schedule, n: int, pause: float, patience: float) -> dict[int, Factory]:
    client = partial(Client, choose=draw_command, pause=pause, patience=patience)
    return dict.fromkeys(range(1000, 1000 + n), client)


LATE_RAFT = PLAIN_RAFT._replace(
    name="LATE_RAFT",
    clients=partial(many_clients, n=3, pause=0.02, patience=0.1),
    draw=partial(late, kinds=("split", "crash leader", "isolate"), tail=0.25, tail_seconds=1.2),
)

# Long logs that are not committed, and no snapshots: whatever differs stays to be compared.
CROWDED_RAFT = PLAIN_RAFT._replace(
    name="CROWDED_RAFT",
    protocol=partial(Raft, batch=3, pre_vote=False, check_quorum=False),
    clients=partial(many_clients, n=12, pause=0.1, patience=0.15),
    draw=partial(late, kinds=("cut", "split"), tail=0.3, tail_seconds=1.0),
)


def lossy(seed: int) -> Schedule:
    return Schedule(seed, network=Network(loss=0.4), seconds=8.0)


# Answers get lost, and nothing else goes wrong: nothing but the next message can mend it.
LOSSY_RAFT = RAFT._replace(
    name="LOSSY_RAFT",
    protocol=partial(Raft, batch=3, compact=5),
    clients=partial(many_clients, n=3, pause=0.02, patience=0.1),
    draw=lossy,
)


class Stuck(Raft):
    """The last member stood often, alone: it is in a later term, and its log is shorter."""

    @classmethod
    def found(cls, me: int, members: tuple[int, ...]) -> dict[str, Any]:
        first = super().found(me, members)
        if me == members[-1]:
            return {**first, "term": 7}
        return {**first, "term": 1, "log": Stored(1, [Entry(1, None)])}


def rejoining(seed: int) -> Schedule:
    """The last member comes back when the others have a leader."""
    n = 3 + seed % 3
    parted = Partition(((n - 1,), tuple(range(n - 1))))
    return Schedule(seed, n, (At(parted, seconds=0.0), At(Heal(), seconds=2.0)), seconds=3.0)


# etcd #8501: neither can win an election against the other.
STUCK_RAFT = RAFT._replace(name="STUCK_RAFT", protocol=Stuck, draw=rejoining)


class Insistent(Raft):
    """Node 0 leads first."""

    def on_start(self) -> Effects:
        yield from super().on_start()
        if self.me == 0:
            yield SetTimer("election", self.timeout / 2)


def deaf(seed: int) -> Schedule:
    """The first leader was away while another was elected. The other dies when the first is back,
    which is heard, and hears nothing."""
    plan = (
        At(Partition(((0,), (1, 2, 3, 4))), seconds=1.0),
        *(At(fault, seconds=DEAF) for fault in (Kill(LEADER), Heal())),
        *(At(Cut(i, 0), seconds=DEAF) for i in range(1, 5)),
    )
    return Schedule(seed, 5, plan, seconds=DEAF + ELECTED)


# What is left of an old leader's term must not keep the others from electing a new one.
DEAF_RAFT = PLAIN_RAFT._replace(
    name="DEAF_RAFT",
    protocol=partial(Insistent, pre_vote=False, check_quorum=False),
    invariants=(*PLAIN_RAFT.invariants, ElectedBeside),
    draw=deaf,
)


# A disk that is lost in the middle of elections: its node may have voted already.
WIPED_RAFT = PLAIN_RAFT._replace(
    name="WIPED_RAFT",
    draw=partial(swarm, sizes=(3,), kinds=("wipe", "crash leader", "crash"), seconds=6.0),
)


def figure_8(seed: int) -> Schedule:
    """Node 0 leads, and its entries reach node 1 alone. Of the others one is elected, and its entry
    reaches nobody. While it is dead a leader of a third term copies those entries to the rest; then
    the dead one comes back, on the side of the majority."""
    draw = Random(f"figure 8/{seed}")
    apart = Partition(((0, 1), (2, 3, 4)))
    cut = 1.0 + draw.uniform(0.15, 0.5)
    heal = cut + 0.15
    back = heal + draw.uniform(0.3, 1.5)
    faults: tuple[tuple[float, Fault], ...] = (
        (1.0, apart),
        *((cut, Cut(i, j)) for i in (2, 3, 4) for j in (2, 3, 4) if i != j),
        *((heal, fault) for fault in (Kill(LEADER), Heal())),
        *((back, fault) for fault in (apart, Revive())),
    )
    plan = tuple(At(fault, seconds=round(when, 3)) for when, fault in faults)
    return Schedule(seed, 5, plan, Network(low=0.04, high=0.05), seconds=back + 1.0)


# The paper's figure 8, in which a majority has an entry that is not committed: one at a time, and
# slowly, so that there is time between the copies and an entry of the leader's own term.
FIGURE_8 = PLAIN_RAFT._replace(
    name="FIGURE_8",
    protocol=partial(Insistent, batch=1, pre_vote=False, check_quorum=False),
    draw=figure_8,
)


class Admin(Protocol):
    """Changes the voters now and then: the spares come and go, and so does the last member."""

    def on_start(self) -> Effects:
        self.guests = (len(self.members) - 1, len(self.members), len(self.members) + 1)
        yield SetTimer("wish", self.context.random.uniform(0.3, 1.0))

    def on_wish(self) -> Effects:
        draw = self.context.random
        node = draw.choice(self.guests)
        everybody = tuple({*self.members, *self.guests})
        kind = draw.random()
        if kind < 0.45:
            yield Broadcast(everybody, ChangeMembership(add=node))
        elif kind < 0.85:
            yield Broadcast(everybody, ChangeMembership(remove=node))
        else:
            yield Broadcast(everybody, TransferLeadership(node))
        yield SetTimer("wish", draw.uniform(0.1, 1.0))


def changing_clients(schedule: Schedule) -> dict[int, Factory]:
    return {**raft_clients(schedule), 1100: Admin}


# A disk that is lost while voters are taken away can leave too few to go on, which is no bug.
RAFT_CHANGES = Scenario(
    "RAFT_CHANGES",
    SMALL,
    RAFT.invariants,
    changing_clients,
    raft_progress,
    spares=2,
    draw=partial(swarm, kinds=KEPT_DISKS),
)


def scenario_of(protocol: Factory) -> Scenario:
    """The scenario for a protocol of one's own, by the lab's class that it is a subclass of; the
    lab's own protocol is still in it. Raises ValueError."""
    kind = _made_by(protocol)
    for known in (RAFT, THREE_PHASES, TIMEOUT, SWIM, QUORUM, PRIMARY_BACKUP, BLOCKS):
        if issubclass(kind, _made_by(known.protocol)):
            return known
    raise ValueError(
        f"{kind.__name__} is a subclass of no protocol that has a scenario here: say which, as in "
        "attack(protocol, schedule, scenario=Scenario(…))"
    )


def _made_by(protocol: Any) -> type:
    while isinstance(protocol, partial):
        protocol = protocol.func
    return protocol if isinstance(protocol, type) else type(None)


def scenario(name: str) -> Scenario:
    """The scenario of a name: `play(scenario("RAFT"), …)`."""
    found: Any = globals().get(name)
    if not isinstance(found, Scenario):
        known = ", ".join(sorted(n for n, v in globals().items() if isinstance(v, Scenario)))
        raise ValueError(f"there is no scenario {name}: {known}")
    return found
