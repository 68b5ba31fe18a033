"""raft.2: a voter with a bug. Those of real ones: m01, m05, and a term that goes down.

Rank 2 is the answer's and has the vote that decides; ranks 0 and 1 stand when the script says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from labkit.checks import Case
from labkit.faults import At, CrashAt, Restart
from labkit.grading.exercise import Property
from labkit.grading.exercises.played import first_wrong, tried, until, with_answer
from labkit.protocols.effects import Effects, Protocol, Record, Send, SetTimer
from labkit.protocols.raft.messages import RequestVote, Vote
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import Schedule
from labkit.simulator.simulation import Simulation

VOTER = 2
CASES, EFFECTS = 2, 5
"""A crash after none to four effects: the solution's handler has two."""
CRASH, BACK, FAULTS, END = 0.6, 1.2, 1.25, 3.0
"""The power fails at the first request, and is back before the second. Then all is well."""


@dataclass(frozen=True)
class Requests:
    """Who asks for the vote in which term: (seconds, candidate, term)."""

    asked: tuple[tuple[float, int, int], ...]

    def __repr__(self) -> str:
        return ", ".join(f"rank {rank} asks in term {term}" for _, rank, term in self.asked)


class Candidate(Protocol):
    def __init__(self, *arguments: Any, asked: Sequence[tuple[float, int, int]]) -> None:
        super().__init__(*arguments)
        self.role = "follower"
        self.asks = [(time, term) for time, rank, term in asked if rank == self.me]
        self.term = 0

    def on_start(self) -> Effects:
        for time, term in self.asks:
            yield SetTimer("stand", time - self.context.now, term * 1000 + int(10 * time))

    def on_stand(self, key: int) -> Effects:
        self.term = key // 1000
        yield Record("role", "becomes candidate", term=self.term)
        yield Send(VOTER, RequestVote(self.term))

    def on_vote(self, voter: int, m: Vote) -> Effects:
        """With its own it is the second of three votes."""
        if m.granted and m.term == self.term:
            yield Record("role", "becomes leader", term=m.term)


def draw_same_term(r: random.Random) -> tuple[Requests]:
    """Both in one term, and the first once more; then in the next."""
    term, one = r.randrange(1, 8), r.randrange(2)
    asked = ((1.0, one, term), (1.5, 1 - one, term), (2.0, one, term), (2.5, 1 - one, term + 1))
    return (Requests(asked),)


def draw_earlier_term(r: random.Random) -> tuple[Requests]:
    """The second is behind."""
    term, one = r.randrange(4, 9), r.randrange(2)
    asked = ((1.0, one, term), (1.5, 1 - one, term - r.randrange(1, 4)), (2.0, one, term + 1))
    return (Requests(asked),)


class OneLeader(Invariant):
    """It is told when something happens next, so that the picture has both leaders."""

    name, title = "R-S1", "one leader in a term"

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self.second: tuple[float, int, int] | None = None

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        if i != VOTER and record.name == "becomes leader":  # the voter's word is the answer's
            term = record.data["term"]
            if self.leaders.setdefault(term, i) != i and self.second is None:
                self.second = sim.now, term, i

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        if self.second is not None and self.second[0] < sim.now:
            _, term, second = self.second
            first = self.leaders[term]
            raise Violation(
                self, f"rank {VOTER} has made rank {first} and rank {second} leaders of term {term}"
            )

    def finished(self, sim: Simulation) -> None:
        self.after(sim, VOTER, None)


class TermsGoUp(Invariant):
    name, title = "R-S6", "terms only grow"
    watches = (Vote,)

    def __init__(self) -> None:
        self.term = 0

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if m.granted and m.term < self.term:
            said = f"rank {VOTER} votes in term {self.term} and then in term {m.term}"
            raise Violation(self, said)
        self.term = max(self.term, m.term) if m.granted else self.term


class Answered(Invariant):
    name, title = "raft.2", "in a term somebody gets the vote"
    watches = (RequestVote,)

    def __init__(self) -> None:
        self.asked: set[int] = set()
        self.led: set[int] = set()

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if i != VOTER:
            self.asked.add(m.term)

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        if i != VOTER and record.name == "becomes leader":
            self.led.add(record.data["term"])

    def finished(self, sim: Simulation) -> None:
        if missing := self.due() - self.led:
            said = f"nobody gets the vote of rank {VOTER} in term {min(missing)}"
            raise Violation(self, said)

    def due(self) -> set[int]:
        return self.asked


class LastAnswered(Answered):
    def due(self) -> set[int]:
        return {max(self.asked)}


def trial(
    protocol: Callable[..., Any], requests: Requests, invariants: tuple[type[Invariant], ...]
) -> tuple[Scenario, dict[str, Schedule]]:
    """A crash after so many effects of the first vote, or behind it."""
    candidates = partial(Candidate, asked=requests.asked)
    scenario = Scenario(
        "raft.2",
        with_answer(protocol, VOTER, candidates, EFFECTS),
        invariants,
        progress=until(END),
    )
    back = At(Restart(VOTER), seconds=BACK)
    plans: dict[str, tuple[At, ...]] = {
        f"crash after {effects} effects": (At(CrashAt(VOTER, effects), seconds=CRASH), back)
        for effects in range(EFFECTS)
    }
    plans["crash when it is done"] = (back,)
    return scenario, {name: Schedule(0, 3, plan, seconds=FAULTS) for name, plan in plans.items()}


one_in_a_term = partial(trial, invariants=(OneLeader, Answered))
no_earlier_term = partial(trial, invariants=(TermsGoUp, LastAnswered))


def picture(cases: Sequence[Case]) -> Any:
    run = first_wrong(cases).seen
    return run and run.timeline(title="Rank 2 is yours, and its vote decides who leads")


PROPERTIES = [
    Property(
        "one vote in a term, through any crash",
        draw_same_term,
        partial(tried, one_in_a_term),
        cases=CASES,
        ranks=CASES * (EFFECTS + 1) * 2,
        picture=picture,
        trial=one_in_a_term,
    ),
    Property(
        "no vote for an earlier term, through any crash",
        draw_earlier_term,
        partial(tried, no_earlier_term),
        cases=CASES,
        ranks=CASES * (EFFECTS + 1) * 2,
        picture=picture,
        trial=no_earlier_term,
    ),
]
