"""commit.1: what the coordinator decides. Bugs: mutants p09 and p03 of real implementations.

An answer that is wrong is also put into a coordinator, and what comes of it is shown.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from labkit.grading.exercise import Property
from labkit.protocols.effects import Effects, Protocol
from labkit.protocols.two_phase_commit import Coordinator, Participant
from labkit.protocols.two_phase_commit.messages import Voted
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import Schedule, swarm
from labkit.simulator.transactions import COMMIT

Votes = list[tuple[int, bool]]
Drawn = tuple[list[int], Votes, bool]
STRANGER = 9
SEEDS = 40
"""Schedules that a wrong rule is tried with."""


class Decider(Coordinator):
    """Decides as `rule` says."""

    def __init__(self, *arguments: Any, rule: Callable[..., Any]) -> None:
        super().__init__(*arguments)
        self.rule = rule
        self.votes: dict[int, Votes] = {}

    def on_voted(self, participant: int, m: Voted) -> Effects:
        if m.transaction in self.asking:
            self.silent[m.transaction].discard(participant)
            self.votes.setdefault(m.transaction, []).append((participant, m.yes))
            yield from self.decide(m.transaction, late=False)

    def on_votes_due(self, transaction: int) -> Effects:
        yield from self.decide(transaction, late=True)

    def decide(self, transaction: int, late: bool) -> Effects:
        participants = list(self.asking[transaction].participants)
        says = self.rule(participants, list(self.votes.get(transaction, ())), late)
        if says == "commit":
            yield from self.commit(transaction)
        elif says == "abort":
            yield from self.abort(transaction)


def nodes(me: int, *arguments: Any, rule: Callable[..., Any]) -> Protocol:
    return Participant(me, *arguments) if me else Decider(me, *arguments, rule=rule)


def trial(rule: Callable[..., Any], *drawn: Any) -> tuple[Scenario, dict[str, Schedule]]:
    draw = partial(swarm, sizes=(4,), kinds=("crash", "cut"), seconds=5.0)
    schedules = {f"seed {seed}": draw(seed) for seed in range(SEEDS)}
    return COMMIT._replace(name="commit.1", protocol=partial(nodes, rule=rule)), schedules


def participants_of(r: random.Random) -> list[int]:
    return sorted(r.sample(range(1, 9), r.choice([2, 3, 4])))


def shuffled(r: random.Random, votes: Votes) -> Votes:
    return r.sample(votes, len(votes))


def draw_plain(r: random.Random) -> Drawn:
    """All have said yes, or one of them no, or one is silent still."""
    ranks = participants_of(r)
    votes = [(rank, True) for rank in ranks]
    what = r.choice(["all", "no", "silent"])
    if what == "no":
        votes[0] = ranks[0], False
    elif what == "silent":
        votes = votes[1:]
    return ranks, shuffled(r, votes), False


def draw_repeated(r: random.Random) -> Drawn:
    """Messages come twice, and late ones of another transaction come, too."""
    ranks = participants_of(r)
    votes = [(rank, True) for rank in ranks[r.choice([0, 1]) :]]
    extra = r.choice([[votes[-1]], [(STRANGER, True)], [(STRANGER, False)]])
    return ranks, shuffled(r, votes + extra), False


def draw_late(r: random.Random) -> Drawn:
    ranks = participants_of(r)
    votes = [(rank, True) for rank in ranks[r.choice([0, 1, len(ranks)]) :]]
    return ranks, shuffled(r, votes), r.random() < 0.6


PROPERTIES = [
    Property("a yes of each commits, a single no aborts", draw_plain, cases=40, trial=trial),
    Property(
        "a vote counts once, and a stranger's not at all", draw_repeated, cases=40, trial=trial
    ),
    Property(
        "after the deadline silence aborts, before it waits", draw_late, cases=40, trial=trial
    ),
]
