"""raft.1: an attack on an election in which votes are not durable. Bug: m01 (PySyncObj #84)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from labkit.checks import Case
from labkit.faults import At
from labkit.grading.exercise import Property
from labkit.grading.exercises.played import Played, attacked, first_wrong
from labkit.protocols.effects import Effects, Persist
from labkit.protocols.raft.election import Election
from labkit.protocols.raft.messages import RequestVote
from labkit.simulator.invariants.raft_terms import ElectionSafety
from labkit.simulator.network import Network
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import Schedule

Stand = tuple[int, float]
Drawn = tuple[int, Stand, Stand, float]
NEVER = 1000.0


class Told(Election):
    """Stands when it is told to, in seconds of the simulation, and else never."""

    def __init__(self, *arguments: Any, stands: Mapping[int, float]) -> None:
        super().__init__(*arguments)
        self.stands = stands

    def draw_timeout(self) -> float:
        at = self.stands.get(self.me, 0.0)
        return at - self.context.now if at > self.context.now else NEVER


class Forgetful(Told):
    def on_request_vote(self, candidate: int, m: RequestVote) -> Effects:
        for effect in super().on_request_vote(candidate, m):
            if not (isinstance(effect, Persist) and effect.values["voted_for"] is not None):
                yield effect


def draw(r: random.Random, nodes: int) -> Drawn:
    one, other = r.sample(range(nodes), 2)
    latency = round(r.uniform(0.02, 0.1), 3)
    stands = round(r.uniform(1, 6), 2)
    return nodes, (one, stands), (other, round(stands + latency * r.uniform(0.4, 0.8), 4)), latency


def played(
    function: Callable[..., Any], nodes: int, first: Stand, second: Stand, latency: float
) -> Played:
    stands = dict([first, second])
    scenario = Scenario("ONE_ELECTION", partial(Told, stands=stands), (ElectionSafety,))

    def schedule(plan: tuple[At, ...]) -> Schedule:
        return Schedule(0, nodes, plan, Network(low=latency, high=latency), second[1] + 1.0)

    plan = function(nodes, first, second, latency)
    return attacked(plan, (nodes - 1) // 2, partial(Forgetful, stands=stands), scenario, schedule)


def picture(cases: Sequence[Case]) -> Any:
    seen = first_wrong(cases).seen
    return seen and seen.timeline(title="What your faults do")


PROPERTIES = [
    Property("three nodes, one fault", partial(draw, nodes=3), played, 6, picture=picture),
    Property("five nodes, two faults", partial(draw, nodes=5), played, 6, picture=picture),
]
