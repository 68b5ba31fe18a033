"""The scenarios of replication: a register on R and W of N, a primary with its backups, blocks."""

from __future__ import annotations

from functools import partial
from random import Random

import msgspec

from labkit.faults import At, CrashAt, Kill, Restart, Revive, WipeDisk
from labkit.protocols.blocks import Blocks, Reader
from labkit.protocols.clients import PRIMARY, Client
from labkit.protocols.primary_backup import PrimaryBackup
from labkit.protocols.quorum import Register
from labkit.protocols.raft.machine import Get, Put
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.invariants.blocks import BLOCKS as BLOCK_PROMISES
from labkit.simulator.invariants.blocks import on_disks
from labkit.simulator.invariants.replication import PRIMARY_BACKUP as BACKUP_PROMISES
from labkit.simulator.invariants.replication import QUORUM as QUORUM_PROMISES
from labkit.simulator.network import Network
from labkit.simulator.node import Factory
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import KEPT_DISKS, Schedule, swarm
from labkit.simulator.simulation import Simulation

CLIENTS = (1000, 1001, 1002)
"""Those that are waited for at the end."""


class Answers(Invariant):
    name, title = "C-L1", "calls are answered once all is well"


class Copied(Invariant):
    name, title = "B-L1", "every block has n copies again once all is well"


class Converges(Invariant):
    name, title = "Q-L1", "all copies become equal once nobody writes"


def draw_command(random: Random, serial: int) -> Get | Put:
    """Of two keys; no value is written twice."""
    key = f"key{random.randrange(2)}"
    return Get(key) if random.random() < 0.6 else Put(key, f"{serial}-{random.randrange(10**6)}")


def clients(schedule: Schedule, where: str = "any") -> dict[int, Factory]:
    asking = partial(Client, choose=draw_command, writes_to=where, reads_from=where)
    return dict.fromkeys(CLIENTS, asking)


def answered(sim: Simulation, within: float = 3.0) -> None:
    """Every client gets an answer to a call that it makes after all has healed."""
    before = {c: len(sim.node(c).stamps) for c in CLIENTS}

    def all_heard(s: Simulation) -> bool:
        return all(len(s.node(c).stamps) > before[c] + 1 for c in CLIENTS)

    if not sim.run_until(all_heard, within):
        waiting = [c for c in CLIENTS if len(sim.node(c).stamps) <= before[c] + 1]
        raise Violation(Answers(), f"clients {waiting} have no answer {within:g} s after the end")
    for c in CLIENTS:
        sim.node(c).stopped = True


def converges(sim: Simulation, within: float = 20.0) -> None:
    answered(sim)

    def equal(s: Simulation) -> bool:
        return len({tuple(sorted(s.node(i).registers.items())) for i in s.members}) == 1

    if not sim.run_until(equal, within):
        raise Violation(Converges(), f"the copies differ {within:g} s after the last write")


QUORUM = Scenario(
    "QUORUM",
    Register,
    QUORUM_PROMISES,
    clients,
    converges,
    draw=partial(swarm, kinds=KEPT_DISKS),
)


def hasty(seed: int) -> Schedule:
    """Three nodes that crash and come back all the time, and messages that are late all the time:
    a write is seldom everywhere before the next read."""
    draw, plan, time = Random(f"hasty/{seed}"), list[At](), 0.0
    while (time := time + draw.uniform(0.05, 0.5)) < 8.0:
        rank = draw.randrange(3)
        crash = CrashAt(rank, draw.randrange(4)) if draw.random() < 0.7 else Kill(rank)
        plan.append(At(crash, seconds=round(time, 4)))
        plan.append(At(Revive(), seconds=round(time + draw.uniform(0.02, 0.3), 4)))
    network = Network(loss=0.2, tail=0.3, tail_seconds=0.15)
    return Schedule(seed, 3, tuple(plan), network, seconds=8.0)


def hasty_clients(schedule: Schedule) -> dict[int, Factory]:
    asking = partial(Client, choose=draw_command, pause=0.01, patience=0.3)
    return dict.fromkeys(range(1000, 1006), asking)


HASTY_QUORUM = Scenario(
    "HASTY_QUORUM", Register, QUORUM_PROMISES, hasty_clients, converges, draw=hasty
)

PRIMARY_BACKUP = Scenario(
    "PRIMARY_BACKUP",
    PrimaryBackup,
    BACKUP_PROMISES,
    partial(clients, where=PRIMARY),
    answered,
    draw=partial(swarm, kinds=KEPT_DISKS),
)


# -- blocks

READER, NUMBER = 1000, 12
"""Whose blocks they are, and how many."""


def lose_a_store(seed: int) -> Schedule:
    """A swarm's schedule in which one store, always the same, loses its disk now and then.

    Not at the beginning: a block of which there is one copy yet can be lost for good.
    """
    drawn = swarm(seed, sizes=(5, 6, 7), kinds=KEPT_DISKS)
    draw, rank = Random(f"wipe/{seed}"), 1 + seed % (drawn.n - 1)
    times = [round(draw.uniform(3, drawn.seconds), 3) for _ in range(draw.randrange(4))]
    wipes = [At(WipeDisk(rank), seconds=t) for t in times]
    backs = [At(Restart(rank), seconds=round(t + draw.uniform(0.1, 3), 3)) for t in times]
    return msgspec.structs.replace(drawn, plan=(*drawn.plan, *wipes, *backs))


def reader(schedule: Schedule) -> dict[int, Factory]:
    return {READER: partial(Reader, blocks=NUMBER)}


def copied(sim: Simulation, within: float = 10.0) -> None:
    """What one disk had alone, and lost before there was a copy, cannot come back."""
    left = [block for block in range(NUMBER) if on_disks(sim, block)]
    copies, reads = sim.node(1).copies, len(sim.node(READER).reads)

    def few(s: Simulation) -> dict[int, list[int]]:
        return {b: on_disks(s, b) for b in left if len(on_disks(s, b)) < copies}

    if not sim.run_until(lambda s: not few(s), within):
        what = f"{within:g} s after the end there are too few copies of {few(sim)}"
        raise Violation(Copied(), what)
    if len(left) == NUMBER and not sim.run_until(lambda s: len(s.node(READER).reads) > reads, 2.0):
        raise Violation(Answers(), "the reader has read no block for 2 s after the end")


BLOCKS = Scenario("BLOCKS", Blocks, BLOCK_PROMISES, reader, copied, draw=lose_a_store)
