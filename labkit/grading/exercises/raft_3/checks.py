"""raft.3: the vote. Bugs: m05 and its kind, a second vote in a term.

An answer that is wrong is also put into nodes that elect, and what comes of it is shown.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from labkit.grading.exercise import Property
from labkit.protocols.effects import Effects, Persist, Send, SetTimer
from labkit.protocols.raft.election import FOLLOWER, Election
from labkit.protocols.raft.messages import RequestVote, Vote
from labkit.simulator.invariants import Violation
from labkit.simulator.invariants.raft_terms import ElectionSafety
from labkit.simulator.raft_progress import ELECTED, LeaderElected
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import Schedule, swarm
from labkit.simulator.simulation import Simulation

Drawn = tuple[int, int | None, int, int]
SEEDS = 40
"""Schedules that a wrong rule is tried with; of the first few one shows a second vote."""


class Voter(Election):
    """Gives its vote as `rule` says."""

    def __init__(self, *arguments: Any, rule: Callable[..., Any]) -> None:
        super().__init__(*arguments)
        self.rule = rule

    def on_request_vote(self, candidate: int, m: RequestVote) -> Effects:
        before = self.term
        granted, self.term, self.voted_for = self.rule(before, self.voted_for, candidate, m.term)
        yield Persist(term=self.term, voted_for=self.voted_for)
        if self.term > before:
            yield from self.become_follower(None)
        elif granted and self.role == FOLLOWER:
            yield SetTimer("election", self.draw_timeout())
        yield Send(candidate, Vote(self.term, granted))


def elected(sim: Simulation) -> None:
    if not sim.run_until(lambda s: s.leader() is not None, within=ELECTED):
        raise Violation(LeaderElected(), f"no leader {ELECTED:.1f} s after all has healed")


def trial(rule: Callable[..., Any], *drawn: Any) -> tuple[Scenario, dict[str, Schedule]]:
    scenario = Scenario("raft.3", partial(Voter, rule=rule), (ElectionSafety,), progress=elected)
    draw = partial(swarm, sizes=(3,), kinds=("crash", "isolate"), seconds=5.0)
    return scenario, {f"seed {seed}": draw(seed) for seed in range(SEEDS)}


def drawn(r: random.Random, later: list[int]) -> Drawn:
    """A candidate whose term is later than the node's by one of these."""
    term = r.randrange(1, 6)
    return term, r.choice([None, 0, 1, 2]), r.randrange(3), term + r.choice(later)


def draw_same(r: random.Random) -> Drawn:
    return drawn(r, [0])


def draw_higher(r: random.Random) -> Drawn:
    return drawn(r, [1, 1, 3])


def draw_earlier(r: random.Random) -> Drawn:
    return drawn(r, [-1])


PROPERTIES = [
    Property("one vote in a term", draw_same, cases=30, trial=trial),
    Property("a higher term begins anew", draw_higher, trial=trial),
    Property("an earlier term is over", draw_earlier, trial=trial),
]
