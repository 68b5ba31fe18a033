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
from labkit.faults import At, CrashAt, Cut, FaultPlan, Heal, Restart
from labkit.grading.exercise import Property
from labkit.grading.exercises.played import Played, first_wrong, simulated
from labkit.grading.nodes import blamed_on
from labkit.protocols.two_phase_commit import two_phase_commit
from labkit.simulator.invariants.commit import PREPARED, rm_state
from labkit.simulator.lifelines import lifelines
from labkit.simulator.network import Network
from labkit.simulator.simulation import Simulation
from labkit.simulator.transactions import Once

ANSWER = 2
EFFECTS = 3
"""No handler of the solution has more."""
LIVES = 1 + 2 * EFFECTS * 2


@dataclass(frozen=True)
class Moment:
    """When the transaction begins, how long messages take, in seconds, and the seed of the rest."""

    begin: float
    latency: float

    def __repr__(self) -> str:
        return f"begins at {self.begin:g} s, messages take {self.latency:g} s"


def draw(r: random.Random) -> tuple[Moment]:
    return (Moment(round(r.uniform(1, 3), 2), round(r.uniform(0.02, 0.06), 3)),)


def transaction(protocol: Callable[..., Any], moment: Moment, *plan: At) -> Simulation:
    """One transaction with ranks 2 and 1, and what becomes of it within ten seconds."""
    client = partial(Once, coordinators=(0,), clerks=(2, 1), at=moment.begin - moment.latency)
    sim: Simulation = simulated(
        protocol,
        ANSWER,
        two_phase_commit,
        n=3,
        faults=FaultPlan(*plan),
        network=Network(low=moment.latency, high=moment.latency),
        clients={1000: client},
    )
    with blamed_on(protocol):
        return sim.run(moment.begin + 10)


def decided(sim: Simulation) -> bool:
    """Whether the coordinator has ever written a commit down."""
    assert sim.recorder is not None
    written = (e.detail.values for e in sim.recorder.trace if (e.what, e.node) == ("persist", 0))
    return any(values.get("committed") for values in written)


def told(sim: Simulation) -> str:
    """Whether both have ended as it was decided, if it was, and the coordinator could forget it."""
    assert sim.recorder is not None
    trace, commit = sim.recorder.trace, decided(sim)
    for rank in (1, ANSWER):
        ends = {e.detail.command for e in trace if e.what == "apply" and e.node == rank}
        if not commit and True in ends:
            return f"rank {rank} commits, and nobody has decided to"
        if commit and ends != {True}:
            how = "aborts" if False in ends else "never commits"
            return f"it was decided to commit, and rank {rank} {how}"
    transactions = [m.transaction for m in sim.on_disk(ANSWER).get("prepared", ())]
    if any(rm_state(sim.on_disk(ANSWER), t) == PREPARED for t in transactions):
        return f"it was decided to abort, and rank {ANSWER} waits for ever"
    if sim.on_disk(0).get("committed"):
        return f"the coordinator waits for rank {ANSWER} for ever"
    return "all end as it was decided"


def seen(protocol: Callable[..., Any], runs: dict[str, Simulation]) -> Played:
    """What became of each run; the first that went wrong is the one to look at."""
    with blamed_on(protocol):
        found = Played({name: told(sim) for name, sim in runs.items()})
    if not decided(runs["no crash"]):
        found["no crash"] = "nothing goes wrong, and it is not committed"
    wrong = [name for name, text in found.items() if text != "all end as it was decided"]
    found.seen = runs[(wrong or list(runs))[0]]
    return found


def crash_of_the_answer(protocol: Callable[..., Any], moment: Moment) -> Played:
    """It crashes inside its vote, or inside what it does about the decision."""
    runs = {"no crash": transaction(protocol, moment)}
    back = At(Restart(ANSWER), seconds=moment.begin + 3)
    for word, rounds in (("vote", 0.5), ("decision", 2.5)):
        when = moment.begin + rounds * moment.latency
        for effects in range(EFFECTS):
            crash = At(CrashAt(ANSWER, effects), seconds=when)
            name = f"crash at the {word}, after {effects} effects"
            runs[name] = transaction(protocol, moment, crash, back)
    return seen(protocol, runs)


def crash_of_both(protocol: Callable[..., Any], moment: Moment) -> Played:
    """The coordinator dies while it decides, and comes back when nobody waits for it any more."""
    runs = {"no crash": transaction(protocol, moment)}
    for told_of in (1, 6):  # effects: the write, a note, two timers, the word to ranks 1 and 2
        when = moment.begin + 1.5 * moment.latency
        deciding = At(CrashAt(0, told_of), seconds=when), At(Cut(0, 1), seconds=when)
        later = At(Restart(0), seconds=moment.begin + 4), At(Heal(), seconds=moment.begin + 4)
        name = "the coordinator dies, and " + ("nobody is told" if told_of == 1 else "rank 2 knows")
        runs[name] = transaction(protocol, moment, *deciding, *later)
        crash = At(CrashAt(ANSWER, 1), seconds=moment.begin + 0.5 * moment.latency)
        back = At(Restart(ANSWER), seconds=moment.begin + 2)
        both = (*deciding, *later, crash, back)
        runs[f"{name}; rank 2 dies, too"] = transaction(protocol, moment, *both)
    return seen(protocol, runs)


def picture(cases: Sequence[Case]) -> Any:
    from labkit.views import commit

    run = first_wrong(cases).seen
    if run is None or run.recorder is None:
        return None
    begin = min(e.time for e in run.recorder.trace if e.what == "send")
    return commit.lifelines(lifelines(run), (begin, begin + 5), "Rank 2 is yours")


PROPERTIES = [
    Property(
        "a yes outlives a crash",
        draw,
        crash_of_the_answer,
        cases=2,
        ranks=2 * LIVES,
        picture=picture,
    ),
    Property(
        "all end alike when the coordinator dies, too",
        draw,
        crash_of_both,
        cases=3,
        ranks=3 * 7,
        picture=picture,
    ),
]
