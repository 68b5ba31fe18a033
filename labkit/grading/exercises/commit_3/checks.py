"""commit.3: an attack on two-phase commit. Bugs: p01, a participant that decides alone, and p03, a
coordinator that tells the commit before it is on its disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from labkit.checks import Case
from labkit.faults import At
from labkit.grading.exercise import Property
from labkit.grading.exercises.played import Played, attacked, first_wrong
from labkit.protocols.effects import Effects, Persist, Protocol
from labkit.protocols.two_phase_commit import Coordinator, Participant, two_phase_commit
from labkit.simulator.invariants.commit import Agreement, Stability
from labkit.simulator.lifelines import lifelines
from labkit.simulator.network import Network
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import Schedule
from labkit.simulator.transactions import Once

ALONE, FIRST = "decides alone", "tells first"
Drawn = tuple[str, float, float]


class Impatient(Participant):
    def on_decision_due(self, transaction: int) -> Effects:
        yield from self.end(transaction, False)


class Hasty(Coordinator):
    def commit(self, transaction: int) -> Effects:
        self.committed[transaction] = self.asking[transaction].participants
        yield from self.decided(transaction)
        yield Persist(committed=tuple(self.committed.items()))


def impatient(me: int, *others: Any) -> Protocol:
    return (Impatient if me else Coordinator)(me, *others)


def hasty(me: int, *others: Any) -> Protocol:
    return (Participant if me else Hasty)(me, *others)


def draw(r: random.Random, bug: str) -> Drawn:
    return bug, round(r.uniform(1, 6), 2), round(r.uniform(0.02, 0.1), 3)


def played(function: Callable[..., Any], bug: str, begin: float, latency: float) -> Played:
    wrong, most = (impatient, 1) if bug == ALONE else (hasty, 2)
    client = partial(Once, coordinators=(0,), clerks=(1, 2, 3), at=begin - latency)
    scenario = Scenario(
        "ONE_TRANSACTION",
        two_phase_commit,
        (Agreement, Stability),
        clients=lambda schedule: {1000: client},
    )

    def schedule(plan: tuple[At, ...]) -> Schedule:
        return Schedule(0, 4, plan, Network(low=latency, high=latency), begin + 2.0)

    return attacked(function(bug, begin, latency), most, wrong, scenario, schedule)


def picture(cases: Sequence[Case]) -> Any:
    from labkit.views import commit

    seen = first_wrong(cases).seen
    if seen is None:
        return None
    begin = min(e.time for e in seen.recorder.trace if e.what == "send") if seen.recorder else 0.0
    return commit.lifelines(lifelines(seen), (begin, begin + 1.2), "What your faults do")


PROPERTIES = [
    Property(
        "one fault against who decides alone", partial(draw, bug=ALONE), played, 6, picture=picture
    ),
    Property(
        "two faults against who tells first", partial(draw, bug=FIRST), played, 6, picture=picture
    ),
]
