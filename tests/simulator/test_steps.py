"""Training over views that change, told step by step in the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.faults import Cut, Kill, Restart
from labkit.simulator.processes import BESIDE
from labkit.simulator.scenario import prepare
from labkit.simulator.schedule import Schedule
from labkit.simulator.simulation import Simulation
from labkit.simulator.steps import STEPS

RANKS = 3


def cluster(seed: int = 1) -> Simulation:
    """Three ranks, which train, and the witness."""
    sim = prepare(STEPS, Schedule(seed=seed, n=RANKS + 1)).run(1.0)
    assert all(len(trainer.applied) > 5 for trainer in trainers(sim))
    return sim


def trainers(sim: Simulation) -> list[Any]:
    return [sim.node(BESIDE + rank) for rank in range(RANKS)]


def ahead(sim: Simulation) -> list[bool]:
    """Of each rank, whether it has applied the last step that anyone has."""
    steps = [len(trainer.applied) for trainer in trainers(sim)]
    return [step == max(steps) for step in steps]


@pytest.mark.parametrize(("deaf", "again"), [((0,), False), ((0, 2), True)])
def test_a_step_counts_if_a_survivor_has_applied_it(deaf: tuple[int, ...], again: bool) -> None:
    """Rank 1 dies when its part of a step has come to some, or to nobody but itself."""
    sim = cluster()
    for rank in deaf:
        sim.inject(Cut(BESIDE + 1, BESIDE + rank))
    assert sim.run_until(lambda s: ahead(s) == [rank not in deaf for rank in range(RANKS)], 1.0)
    step, view = len(trainers(sim)[1].applied), trainers(sim)[1].view.number

    sim.inject(Kill(1))
    sim.run(1.0)

    for survivor in (0, 2):
        assert trainers(sim)[survivor].applied[step - 1] == view + again


def test_who_comes_back_takes_the_steps_of_the_others() -> None:
    sim = cluster()
    done = trainers(sim)[1].applied

    sim.inject(Kill(0))
    sim.inject(Restart(0))
    sim.run(2.0)

    assert {trainer.applied[: len(done)] for trainer in trainers(sim)} == {done}
    assert all(len(trainer.applied) > len(done) + 5 for trainer in trainers(sim))
