"""Attacks: break an implementation with a few well-chosen faults.

    attack("m09", At(Kill(LEADER), seconds=2.0), At(Restart(0), seconds=3.0))
    attack(MyRaft, Schedule(seed=3, n=5, plan=(At(Kill(LEADER), seconds=2.0),)))

A puzzle (`labkit.simulator.puzzles`) has one of the mutants in it; a protocol is any class of one's
own. A schedule wins if an invariant breaks, within the number of faults that is allowed, and if the
correct code withstands the same schedule. Of a puzzle only those invariants count that a user would
feel.
"""

from __future__ import annotations

from typing import NamedTuple

from labkit.faults import At
from labkit.simulator.aim import objection
from labkit.simulator.finding import Finding, observe
from labkit.simulator.mutants import Mutant, applied
from labkit.simulator.node import Factory
from labkit.simulator.puzzles import PUZZLES, Puzzle
from labkit.simulator.scenario import Scenario
from labkit.simulator.scenarios import scenario_of
from labkit.simulator.schedule import Schedule
from labkit.simulator.shrink import violation

SEEDS = 10
"""A schedule is tried with so many seeds: the network draws other delays in each."""
MOST = 5
"""Faults of a schedule, unless one says otherwise."""
SURVIVED = "It has survived."
UNJUST = "The correct code falls to this as well: that is no bug of it."


class Verdict(NamedTuple):
    """Whether the attack won, in a sentence, and how the system broke if it did."""

    won: bool
    sentence: str
    finding: Finding | None = None

    def __str__(self) -> str:
        return self.sentence if self.finding is None else f"{self.sentence}\n{self.finding.story}"

    def __repr__(self) -> str:
        return str(self)


def attack(
    protocol: str | Puzzle | Factory,
    *faults: At | Schedule,
    scenario: Scenario | None = None,
    most: int = MOST,
) -> Verdict:
    """Plays the faults against a puzzle's mutant, or a `Schedule` of at most so many faults against
    a protocol. That is tried in a `scenario`, whose own protocol is the correct one; without it,
    in the lab's scenario for protocols of its kind. Raises ValueError for an unknown puzzle or
    kind, TypeError for faults that are none.
    """
    if isinstance(protocol, str):
        if protocol not in PUZZLES:
            raise ValueError(f"there is no puzzle {protocol!r}: {', '.join(PUZZLES)}")
        protocol = PUZZLES[protocol]
    if isinstance(protocol, Puzzle):
        plan = tuple(entry for entry in faults if isinstance(entry, At))
        if len(plan) < len(faults):
            raise TypeError("a puzzle takes faults, as in At(Kill(0), seconds=2.0)")
        return _on_puzzle(protocol, plan)
    if len(faults) != 1 or not isinstance(faults[0], Schedule):
        raise TypeError("a protocol takes one schedule, as in Schedule(seed=3, n=5, plan=(…))")
    return _on_protocol(protocol, faults[0], scenario or scenario_of(protocol), most)


def _on_puzzle(puzzle: Puzzle, faults: tuple[At, ...]) -> Verdict:
    if refused := _refused(faults, puzzle.n, puzzle.faults):
        return refused
    scenario = puzzle.felt()
    for seed in range(SEEDS):
        if _play_mutant(scenario, puzzle.schedule(seed, ()), puzzle.mutant) is not None:
            continue  # here it breaks by itself: no merit of the attack
        schedule = puzzle.schedule(seed, faults)
        finding = _play_mutant(scenario, schedule, puzzle.mutant)
        if finding is not None:
            return _just(finding, scenario, schedule)
    return Verdict(False, f"It has survived, with {SEEDS} seeds. {puzzle.hint}")


def _on_protocol(protocol: Factory, schedule: Schedule, scenario: Scenario, most: int) -> Verdict:
    if refused := _refused(schedule.plan, schedule.n, most):
        return refused
    finding = observe(scenario._replace(protocol=protocol), schedule)
    return Verdict(False, SURVIVED) if finding is None else _just(finding, scenario, schedule)


def _refused(plan: tuple[At, ...], n: int, most: int) -> Verdict | None:
    if len(plan) > most:
        return Verdict(False, f"{len(plan)} faults; this one falls to {most}.")
    objections = (said for entry in plan if (said := objection(entry, n)) is not None)
    return next((Verdict(False, said) for said in objections), None)


def _just(finding: Finding, scenario: Scenario, schedule: Schedule) -> Verdict:
    """A violation counts if the scenario's own protocol, which is correct, withstands."""
    if violation(scenario, schedule) is not None:
        return Verdict(False, UNJUST)
    count = len(schedule.plan)
    faults = f"{count} fault{'s' * (count != 1)}"
    return Verdict(True, f"Broken with {faults} (seed {schedule.seed}).", finding)


def _play_mutant(scenario: Scenario, schedule: Schedule, mutant: Mutant) -> Finding | None:
    with applied(mutant):
        return observe(scenario, schedule)
