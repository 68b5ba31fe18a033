"""raft.5: an attack on a log that is acknowledged before it is durable. Bug: m03 (PySyncObj #84,
etcd #14370)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from labkit.checks import Case
from labkit.faults import At, Heal, Partition
from labkit.grading.exercise import Property
from labkit.grading.exercises.played import Played, attacked, first_wrong
from labkit.protocols.effects import Apply, Effects, Persist, Protocol, Send, SetTimer
from labkit.protocols.raft import Raft
from labkit.protocols.raft.machine import Put
from labkit.protocols.raft.messages import AppendEntries
from labkit.protocols.raft.sessions import ClientReply, ClientRequest
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.network import Network
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import Schedule
from labkit.simulator.simulation import Simulation

Drawn = tuple[int, int, list[int], float, float, float]
FIRST, SETTLED, GONE = 0.15, 0.5, 0.7
"""Seconds: when the first leader stands, from when on anybody may, and when the cable breaks."""
SYNC = 1.0


class Known(Raft):
    """The first leader is known beforehand."""

    def __init__(self, *arguments: Any, first: int) -> None:
        self.first = first
        super().__init__(*arguments)

    def draw_timeout(self) -> float:
        if self.context.now < SETTLED:
            return FIRST if self.me == self.first else 3.0
        return super().draw_timeout()


class Careless(Known):
    """Acknowledges entries that are to be written some time later."""

    def __init__(self, *arguments: Any, first: int) -> None:
        super().__init__(*arguments, first=first)
        self.unwritten: list[Persist] = []

    def on_append_entries(self, leader: int, m: AppendEntries) -> Effects:
        for effect in super().on_append_entries(leader, m):
            if isinstance(effect, Persist) and "log" in effect.values:
                if not self.unwritten:
                    yield SetTimer("sync", SYNC)
                self.unwritten.append(effect)
            else:
                yield effect

    def on_sync(self) -> Effects:
        yield from self.unwritten
        self.unwritten = []

    def become_leader(self) -> Effects:
        yield from self.on_sync()
        yield from super().become_leader()


class Remembered(Invariant):
    name, title = "R-S5", "an entry that was committed stays what it was"

    def __init__(self) -> None:
        self.entries: dict[int, tuple[int, Any]] = {}

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        first, command = self.entries.setdefault(apply.index, (i, apply.command))
        if command != apply.command:
            raise Violation(
                self,
                f"rank {first} had {command} as entry {apply.index}, and rank {i} has "
                f"{apply.command}",
            )


class Writer(Protocol):
    """One command, at a time in seconds."""

    def __init__(self, *arguments: Any, leader: int, at: float) -> None:
        super().__init__(*arguments)
        self.leader, self.at = leader, at

    def on_start(self) -> Effects:
        yield SetTimer("write", self.at - self.context.now)

    def on_write(self) -> Effects:
        yield Send(self.leader, ClientRequest(1, Put("checkpoint", 41_000)))

    def on_client_reply(self, node: int, m: ClientReply) -> None:
        pass


def draw(r: random.Random, nodes: int) -> Drawn:
    leader, *away = r.sample(range(nodes), 1 + nodes // 2)
    written = round(r.uniform(2, 7), 2)
    back = round(written + r.uniform(0.3, 0.8), 2)
    return nodes, leader, sorted(away), written, back, round(r.uniform(0.005, 0.02), 3)


def played(
    function: Callable[..., Any],
    nodes: int,
    leader: int,
    away: list[int],
    written: float,
    back: float,
    latency: float,
) -> Played:
    writer = partial(Writer, leader=leader, at=written - latency)
    scenario = Scenario(
        "ONE_WRITE",
        partial(Known, first=leader),
        (Remembered,),
        clients=lambda schedule: {1000: writer},
    )
    here = tuple(node for node in range(nodes) if node not in away)
    cable = (
        At(Partition((tuple(away), here)), seconds=GONE),
        At(Heal(), seconds=back),
    )

    def schedule(plan: tuple[At, ...]) -> Schedule:
        network = Network(low=latency, high=latency)
        return Schedule(3, nodes, (*cable, *plan), network, back + 3.0)

    plan = function(nodes, leader, away, written, back, latency)
    wrong = partial(Careless, first=leader)
    return attacked(plan, (nodes + 1) // 2, wrong, scenario, schedule)


def picture(cases: Sequence[Case]) -> Any:
    seen = first_wrong(cases).seen
    return seen and seen.timeline(title="What your faults do")


PROPERTIES = [
    Property("three nodes, two faults", partial(draw, nodes=3), played, 6, picture=picture),
    Property("five nodes, three faults", partial(draw, nodes=5), played, 12, picture=picture),
]
