"""What the exercises on protocols share: answers are played in the simulator, and what is compared
is what the simulator has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from labkit.checks import Case
from labkit.faults import At
from labkit.grading.nodes import blamed_on, lives_of
from labkit.grading.shrunk import Trial
from labkit.protocols.effects import Effect, Protocol, one_by_one
from labkit.simulator.aim import objection
from labkit.simulator.attack import attack
from labkit.simulator.finding import watch
from labkit.simulator.invariants import Violation
from labkit.simulator.node import Factory
from labkit.simulator.scenario import Scenario, prepare
from labkit.simulator.schedule import Schedule
from labkit.simulator.simulation import Simulation

HOLDS = "all is well"
NO_PLAN = "it is no list of faults, as in [At(Kill(0), seconds=2.0)]"


class Played(dict[str, Any]):
    """What is compared; `seen` is the run that shows it best, recorded, for the picture: the first
    that went wrong."""

    seen: Simulation | None = None


def attacked(
    plan: Any, most: int, wrong: Factory, scenario: Scenario, schedule: Callable[..., Schedule]
) -> Played:
    """Whether the learner's `plan` breaks the `wrong` protocol, and not the scenario's own.
    `schedule(plan)` puts it beside what happens anyway, which counts as no fault of the plan."""
    if type(plan) not in (list, tuple) or any(type(entry) is not At for entry in plan):
        return Played({"the attack": NO_PLAN})
    whole, given = schedule(tuple(plan)), schedule(())
    if refused := next(filter(None, (objection(entry, whole.n) for entry in plan)), None):
        return Played({"the attack": refused})  # such a fault may never let the simulation end
    verdict = attack(wrong, whole, scenario=scenario, most=most + len(given.plan))
    if len(plan) > most:
        return Played({"the attack": f"{len(plan)} faults; this one falls to {most}"})
    # Of attacks that fail the plan is part of what is compared: who is told of a mistake made it.
    failed = f"{verdict.sentence} You tried {list(plan)}"
    found = Played({"the attack": "wins" if verdict.won else failed})
    found.seen = prepare(scenario._replace(protocol=wrong), whole, record=True)
    with suppress(Violation):
        found.seen.run(whole.seconds)
    return found


def with_answer(protocol: Callable[..., Any], rank: int, others: Factory, most: int) -> Factory:
    """Node `rank` is the answer's, the others are the lab's. Its handlers have `most` effects: as
    many as there are crashes to come between them."""
    answers = lives_of(protocol)

    def make(me: int, *arguments: Any) -> Protocol:
        if me != rank:
            return others(me, *arguments)
        return Counted(answers(me, *arguments), most, me, *arguments)

    return make


class Counted(Protocol):
    """A node whose handlers have no more than `most` effects. Raises ValueError: who has more could
    have those that matter behind the last crash that is tried."""

    def __init__(self, node: Protocol, most: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.node, self.most = node, most

    def on_start(self) -> Any:
        return self.handled("on_start")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("on_"):
            raise AttributeError(name)
        getattr(self.node, name)  # or the answer's own AttributeError
        return partial(self.handled, name)

    def handled(self, name: str, *arguments: Any) -> list[Effect]:
        effects = list(getattr(self.node, name)(*arguments) or ())
        if (count := len(one_by_one(effects))) > self.most:
            raise ValueError(f"{name} has {count} effects here; {self.most} are enough")
        return effects


def until(end: float) -> Callable[[Simulation], None]:
    """When all has healed the script goes on to its end, in seconds."""

    def go_on(sim: Simulation) -> None:
        sim.run(max(0.0, end - sim.now))

    return go_on


def tried(trial: Trial, protocol: Callable[..., Any], *arguments: Any) -> Played:
    """What becomes of an answer in each schedule of its trial: `HOLDS`, or what broke, and when."""
    found, broken = Played(), False
    with blamed_on(protocol):
        scenario, schedules = trial(protocol, *arguments)
        for name, schedule in schedules.items():
            run, finding = watch(scenario, schedule)
            found[name] = f"at {run.now:.2f} s {finding.what}" if finding else HOLDS
            if not found.seen or (finding and not broken):
                found.seen = run
            broken = broken or finding is not None
    return found


def first_wrong(cases: Sequence[Case]) -> Played:
    """What was seen of the first case that differs, else of the first."""
    wrong = [case.got for case in cases if case.got != case.expected]
    return (wrong or [case.got for case in cases])[0]
