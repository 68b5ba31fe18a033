"""commit.4: a participant whose yes is on its way before it is on its disk. Bugs: p31, and those of
wrong repairs: p01, p07, p11, p29.

Rank 2 is the answer's. The coordinator and rank 1 are the lab's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from labkit.checks import Case
from labkit.faults import At, CrashAt, Cut, Heal, Restart
from labkit.grading.exercise import Property
from labkit.grading.exercises.played import first_wrong, tried, until, with_answer
from labkit.protocols.effects import Apply
from labkit.protocols.two_phase_commit import two_phase_commit
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.invariants.commit import PREPARED, rm_state
from labkit.simulator.lifelines import lifelines
from labkit.simulator.network import Network
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import Schedule
from labkit.simulator.simulation import Simulation
from labkit.simulator.transactions import Once

ANSWER = 2
EFFECTS = 5
"""The solution's handlers have three."""
LIVES = 1 + 2 * EFFECTS * 2 + 2


@dataclass(frozen=True)
class Moment:
    """When the transaction begins, how long messages take, in seconds, and the seed of the rest."""

    begin: float
    latency: float

    def __repr__(self) -> str:
        return f"begins at {self.begin:g} s, messages take {self.latency:g} s"


def draw(r: random.Random) -> tuple[Moment]:
    return (Moment(round(r.uniform(1, 3), 2), round(r.uniform(0.02, 0.06), 3)),)


class AsDecided(Invariant):
    """Both participants, and the coordinator may forget it in the end."""

    name, title = "P-S1", "all end as it was decided"

    def __init__(self) -> None:
        self.decided = False
        self.ends: dict[int, set[Any]] = {1: set(), ANSWER: set()}

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        self.decided = self.decided or bool(i == 0 and values.get("committed"))

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        self.ends[i].add(apply.command)

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        for rank, ends in self.ends.items():
            if True in ends and not self.decided:
                raise Violation(self, f"rank {rank} commits, and nobody has decided to")
            if False in ends and self.decided:
                raise Violation(self, f"it was decided to commit, and rank {rank} aborts")

    def finished(self, sim: Simulation) -> None:
        for rank, ends in self.ends.items():
            if self.decided and ends != {True}:
                raise Violation(self, f"it was decided to commit, and rank {rank} never commits")
        transactions = [m.transaction for m in sim.on_disk(ANSWER).get("prepared", ())]
        if any(rm_state(sim.on_disk(ANSWER), t) == PREPARED for t in transactions):
            raise Violation(self, f"it was decided to abort, and rank {ANSWER} waits for ever")
        if sim.on_disk(0).get("committed"):
            raise Violation(self, f"the coordinator waits for rank {ANSWER} for ever")


class Undisturbed(Invariant):
    name, title = "commit.4", "what nothing disturbs is committed"

    def __init__(self) -> None:
        self.decided = False

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        self.decided = self.decided or bool(i == 0 and values.get("committed"))

    def finished(self, sim: Simulation) -> None:
        if not sim.struck and not self.decided:
            raise Violation(self, f"nothing goes wrong, and rank {ANSWER} prevents the commit")


Plans = dict[str, tuple[At, ...]]


def trial(
    protocol: Callable[..., Any], moment: Moment, plans: Callable[[Moment], Plans]
) -> tuple[Scenario, dict[str, Schedule]]:
    """One transaction with ranks 2 and 1, and what becomes of it within ten seconds."""
    client = partial(Once, coordinators=(0,), clerks=(2, 1), at=moment.begin - moment.latency)
    scenario = Scenario(
        "commit.4",
        with_answer(protocol, ANSWER, two_phase_commit, EFFECTS),
        (AsDecided, Undisturbed),
        clients=lambda schedule: {1000: client},
        progress=until(moment.begin + 10),
    )
    network = Network(low=moment.latency, high=moment.latency)
    return scenario, {
        name: Schedule(0, 3, plan, network, moment.begin + 4.5)
        for name, plan in ({"no crash": ()} | plans(moment)).items()
    }


def crash_of_the_answer(moment: Moment) -> Plans:
    """It crashes inside its vote, inside what it does about the decision, or between them."""
    back = At(Restart(ANSWER), seconds=moment.begin + 3)
    plans: Plans = {}
    for word, rounds in (("vote", 0.5), ("decision", 2.5)):
        when = round(moment.begin + rounds * moment.latency, 4)
        for effects in range(EFFECTS):
            crash = At(CrashAt(ANSWER, effects), seconds=when)
            plans[f"crash at the {word}, after {effects} effects"] = crash, back
    between = At(Restart(ANSWER), seconds=round(moment.begin + 2 * moment.latency, 4))
    return plans | {"crash between the vote and the decision": (between,)}


def crash_of_both(moment: Moment) -> Plans:
    """The coordinator dies while it decides, and comes back when nobody waits for it any more."""
    plans: Plans = {}
    for told_of in (1, 6):  # effects: the write, a note, two timers, the word to ranks 1 and 2
        when = round(moment.begin + 1.5 * moment.latency, 4)
        deciding = At(CrashAt(0, told_of), seconds=when), At(Cut(0, 1), seconds=when)
        later = At(Restart(0), seconds=moment.begin + 4), At(Heal(), seconds=moment.begin + 4)
        name = "the coordinator dies, and " + ("nobody is told" if told_of == 1 else "rank 2 knows")
        plans[name] = *deciding, *later
        vote = round(moment.begin + 0.5 * moment.latency, 4)
        back = At(Restart(ANSWER), seconds=moment.begin + 2)
        crash = At(CrashAt(ANSWER, 1), seconds=vote), back
        plans[f"{name}; rank 2 dies, too"] = *deciding, *later, *crash
    return plans


alone = partial(trial, plans=crash_of_the_answer)
together = partial(trial, plans=crash_of_both)


def picture(cases: Sequence[Case]) -> Any:
    from labkit.views import commit

    run = first_wrong(cases).seen
    if run is None or run.recorder is None:
        return None
    begin = min(e.time for e in run.recorder.trace if e.what == "send")
    end = begin + min(5.0, max(0.1, 1.1 * (run.now - begin)))  # what goes wrong ends the run
    return commit.lifelines(lifelines(run), (begin, end), "Rank 2 is yours")


PROPERTIES = [
    Property(
        "a yes outlives a crash",
        draw,
        partial(tried, alone),
        cases=2,
        ranks=2 * LIVES,
        picture=picture,
        trial=alone,
    ),
    Property(
        "all end alike when the coordinator dies, too",
        draw,
        partial(tried, together),
        cases=3,
        ranks=3 * 7,
        picture=picture,
        trial=together,
    ),
]
