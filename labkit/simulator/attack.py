"""Puzzles: break a wrong implementation with a few well-chosen faults.

    attack("m09", At(Kill(LEADER), seconds=2.0), At(Restart(0), seconds=3.0))

Each puzzle has one of the mutants in it. A schedule wins if an invariant breaks that a user would
feel, within the puzzle's number of faults, and if the correct code withstands the same schedule.
"""

from __future__ import annotations

from typing import NamedTuple

from labkit.faults import At
from labkit.simulator.explore import Finding
from labkit.simulator.invariants import Violation
from labkit.simulator.mutants import Mutant, applied
from labkit.simulator.puzzles import PUZZLES, Puzzle
from labkit.simulator.scenario import Scenario, finish, prepare
from labkit.simulator.schedule import Schedule
from labkit.simulator.story import tell

SEEDS = 10
"""A schedule is tried with so many seeds: the network draws other delays in each."""


class Verdict(NamedTuple):
    """Whether the attack won, in a sentence, and how the system broke if it did."""

    won: bool
    sentence: str
    finding: Finding | None = None

    def __str__(self) -> str:
        return self.sentence if self.finding is None else f"{self.sentence}\n{self.finding.story}"

    def __repr__(self) -> str:
        return str(self)


def attack(puzzle: str | Puzzle, *faults: At) -> Verdict:
    """Plays the faults against the puzzle's mutant. Raises ValueError for an unknown puzzle."""
    if isinstance(puzzle, str):
        if puzzle not in PUZZLES:
            raise ValueError(f"there is no puzzle {puzzle!r}: {', '.join(PUZZLES)}")
        puzzle = PUZZLES[puzzle]
    if len(faults) > puzzle.faults:
        return Verdict(False, f"{len(faults)} faults; this one falls to {puzzle.faults}.")
    scenario = puzzle.felt()
    for seed in range(SEEDS):
        if _play(scenario, puzzle.schedule(seed, ()), puzzle.mutant) is not None:
            continue  # here it breaks by itself: no merit of the attack
        schedule = puzzle.schedule(seed, faults)
        finding = _play(scenario, schedule, puzzle.mutant)
        if finding is None:
            continue
        if _play(scenario, schedule, None) is not None:
            return Verdict(False, "The correct code falls to this as well: that is no bug of it.")
        return Verdict(True, f"Broken with {len(faults)} faults (seed {seed}).", finding)
    return Verdict(False, f"It has survived, with {SEEDS} seeds. {puzzle.hint}")


def _play(scenario: Scenario, schedule: Schedule, mutant: Mutant | None) -> Finding | None:
    if mutant is not None:
        with applied(mutant):
            return _play(scenario, schedule, None)
    sim = prepare(scenario, schedule, record=True)
    try:
        finish(scenario, schedule, sim)
    except Violation as broken:
        assert sim.recorder is not None
        story = tell(sim.recorder.trace, broken)
        return Finding(
            broken.name, broken.title, broken.what, schedule, schedule, story, scenario.name
        )
    return None
