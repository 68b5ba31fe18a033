"""Two-phase commit with a crash at every effect of every handler that matters."""

from __future__ import annotations

from functools import partial

import pytest

from labkit.faults import CrashAt, Heal, Kill, Partition, Restart
from labkit.protocols.two_phase_commit import two_phase_commit
from labkit.simulator.invariants.commit import INVARIANTS
from labkit.simulator.invariants.commit_progress import BlocksInTheWindow, doubts
from labkit.simulator.simulation import Simulation
from labkit.simulator.transactions import Once

T = 1_000_001  # the first transaction of the first epoch


def simulation() -> Simulation:
    client = partial(Once, coordinators=(0,), clerks=(1, 2))
    return Simulation(
        two_phase_commit, 3, 1, invariants=INVARIANTS, clients={1000: client}, record=True
    )


def ends(sim: Simulation) -> dict[int, list[bool]]:
    """By participant, how the transactions ended, as its disk says."""
    return {i: [c for _, c in sim.on_disk(i).get("ended", ())] for i in (1, 2)}


def one_vote_missing(sim: Simulation) -> bool:
    return sim.alive(0) and [len(silent) for silent in sim.node(0).silent.values()] == [1]


def settled(sim: Simulation) -> None:
    """Everybody is alive and nobody is in doubt, both know the same, and all is forgotten."""
    assert not doubts(sim)
    assert sorted({tuple(end) for end in ends(sim).values()} - {()}) in ([], [(True,)], [(False,)])
    assert sim.node(0).committed == {}


def test_without_a_fault_all_commit() -> None:
    """P-S2: all vote yes, nothing fails, so it is a commit."""
    sim = simulation().run(10)
    assert ends(sim) == {1: [True], 2: [True]}
    assert sim.on_disk(0)["committed"] == ()


@pytest.mark.parametrize("effects", range(4))
def test_a_coordinator_that_dies_while_it_asks_has_aborted(effects: int) -> None:
    """Its effects are Prepare to 1, Prepare to 2, and two timers."""
    sim = simulation().run(0.9)
    sim.inject(CrashAt(0, effects))
    sim.run(3)
    assert not sim.alive(0)
    sim.inject(Restart(0))
    sim.run(10)
    settled(sim)
    assert [True] not in ends(sim).values()


@pytest.mark.parametrize("effects", range(7))
def test_a_coordinator_that_dies_as_it_decides(effects: int) -> None:
    """Its effects are Persist, Record, two CancelTimer, Decision to 1, Decision to 2, a timer."""
    sim = simulation()
    sim.run_until(one_vote_missing, within=3)
    sim.inject(CrashAt(0, effects))
    sim.run(3)
    assert not sim.alive(0)
    told = effects > 4
    assert bool(doubts(sim)) != told
    sim.inject(Restart(0))
    sim.run(10)
    settled(sim)
    assert ends(sim) == ({1: [True], 2: [True]} if effects else {1: [False], 2: [False]})


@pytest.mark.parametrize("effects", range(3))
def test_a_participant_that_dies_as_it_votes(effects: int) -> None:
    """Its effects are Persist, Voted and a timer."""
    sim = simulation().run(0.9)
    sim.inject(CrashAt(1, effects))
    sim.run_until(lambda sim: not sim.alive(1), within=3)
    assert bool(sim.on_disk(1).get("prepared")) == (effects > 0)
    sim.run(0.1)
    sim.inject(Restart(1))
    sim.run(10)
    settled(sim)
    assert ends(sim) == {1: [True], 2: [True]}, "asked again, or in doubt and asking"


@pytest.mark.parametrize("effects", range(4))
def test_a_participant_that_dies_as_it_commits(effects: int) -> None:
    """Its effects are Apply, Persist, CancelTimer and Acknowledged."""
    sim = simulation()
    sim.run_until(lambda sim: bool(sim.on_disk(1).get("prepared")), within=3)
    sim.inject(CrashAt(1, effects))
    sim.run(3)
    assert not sim.alive(1)
    sim.inject(Restart(1))
    sim.run(10)
    settled(sim)
    assert ends(sim) == {1: [True], 2: [True]}


@pytest.mark.parametrize("effects", range(1, 5))
def test_a_coordinator_that_is_gone_for_good_blocks_those_in_doubt(effects: int) -> None:
    """P-L2: plain two-phase commit blocks here, and only here; it says so and guesses nothing."""
    sim = simulation()
    sim.run_until(one_vote_missing, within=3)
    sim.inject(CrashAt(0, effects))
    sim.run(60)
    BlocksInTheWindow.judge(sim)
    assert ends(sim) == {1: [], 2: []}
    assert sorted(doubts(sim)) == [1, 2]
    assert sum(e.name == "is in doubt" for e in sim.events) > 20


def test_one_who_knows_tells_the_other() -> None:
    """Cooperative termination (Bernstein et al. 1987, §7.4): no coordinator is needed for it."""
    sim = simulation()
    sim.run_until(one_vote_missing, within=3)
    sim.inject(CrashAt(0, 5))
    sim.run(8)
    BlocksInTheWindow.judge(sim)
    assert ends(sim) == {1: [True], 2: [True]}


def test_nobody_decides_alone_behind_a_partition() -> None:
    sim = simulation()
    sim.run_until(lambda sim: bool(sim.on_disk(1).get("prepared")), within=3)
    sim.inject(Partition(((0, 2), (1,))))
    sim.run(30)
    assert doubts(sim) == {1: (T,)}
    sim.inject(Heal())
    sim.run(5)
    settled(sim)
    assert ends(sim)[1] == ends(sim)[2] != []


def test_a_participant_that_is_lost_before_its_vote_aborts_the_others() -> None:
    sim = simulation().run(0.5)
    sim.inject(Kill(1))
    sim.run(10)
    assert ends(sim) == {1: [], 2: [False]}
