"""raft.2: a vote that is sent before it is on the disk. Bugs: m01, m05, and a term that goes down.

Rank 2 is the answer's and has the vote that decides; ranks 0 and 1 stand when the script says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from labkit.checks import Case
from labkit.faults import At, CrashAt, FaultPlan, Restart
from labkit.grading.exercise import Property
from labkit.grading.exercises.played import Played, first_wrong, said_by, simulated
from labkit.grading.nodes import blamed_on
from labkit.protocols.effects import Effects, Protocol, Record, Send, SetTimer
from labkit.protocols.raft.messages import RequestVote, Vote
from labkit.simulator.simulation import Simulation

VOTER = 2
CASES, EFFECTS = 3, 3
"""A crash after none, one or two effects: no handler of the solution has more."""
CRASH, BACK = 0.6, 1.2
"""The power fails after the first request, and is back before the second."""


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
        if m.granted:
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


def runs(protocol: Callable[..., Any], requests: Requests) -> dict[str, Simulation]:
    """With the crash after so many effects of the first vote."""
    found = {}
    for effects in range(EFFECTS):
        plan = FaultPlan(
            At(CrashAt(VOTER, effects), seconds=CRASH), At(Restart(VOTER), seconds=BACK)
        )
        candidates = partial(Candidate, asked=requests.asked)
        sim: Simulation = simulated(protocol, VOTER, candidates, n=3, faults=plan)
        with blamed_on(protocol):
            found[f"crash after {effects} effects"] = sim.run(3.0)
    return found


def seen(runs: dict[str, Simulation], judged: Callable[[Simulation], str], right: str) -> Played:
    found = Played({name: judged(sim) for name, sim in runs.items()})
    found.seen = next((runs[name] for name, text in found.items() if text != right), None)
    found.seen = found.seen or runs["crash after 1 effects"]
    return found


def votes(sim: Simulation) -> list[tuple[int, int]]:
    """(term, candidate) of those that the answer has given, in order."""
    return [(m.term, to) for _, to, m in said_by(sim, VOTER, Vote) if m.granted is True]


def one_in_a_term(protocol: Callable[..., Any], requests: Requests) -> Played:
    terms = sorted({term for _, _, term in requests.asked})

    def judged(sim: Simulation) -> str:
        told = []
        for term in terms:
            ranks = sorted({to for t, to in votes(sim) if t == term})
            whom = " and ".join(f"rank {rank}" for rank in ranks) or "nobody"
            told.append("one" if len(ranks) == 1 else whom)
        return f"in its terms it votes for {', then '.join(told)}"

    right = "in its terms it votes for one, then one"
    return seen(runs(protocol, requests), judged, right)


def no_earlier_term(protocol: Callable[..., Any], requests: Requests) -> Played:
    last = requests.asked[-1][2]

    def judged(sim: Simulation) -> str:
        given = [term for term, _ in votes(sim)]
        down = next(((a, b) for a, b in pairwise(given) if b < a), None)
        if down:
            return f"it votes in term {down[0]} and then in term {down[1]}"
        return "its terms go up" if last in given else f"it does not vote in term {last}"

    return seen(runs(protocol, requests), judged, "its terms go up")


def picture(cases: Sequence[Case]) -> Any:
    run = first_wrong(cases).seen
    return run and run.timeline(title="Rank 2 is yours, and its vote decides who leads")


PROPERTIES = [
    Property(
        "one vote in a term, through any crash",
        draw_same_term,
        one_in_a_term,
        cases=CASES,
        ranks=CASES * EFFECTS * 2,
        picture=picture,
    ),
    Property(
        "no vote for an earlier term, through any crash",
        draw_earlier_term,
        no_earlier_term,
        cases=CASES,
        ranks=CASES * EFFECTS * 2,
        picture=picture,
    ),
]
