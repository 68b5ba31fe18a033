"""Checkpoints that the ranks of a view commit together, told step by step in the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.faults import Kill, Restart
from labkit.protocols.checkpoints import SAVERS
from labkit.runtime.engine import CLIENTS
from labkit.simulator.checkpoint_folder import folder, number_of
from labkit.simulator.checkpoints import CHECKPOINTS
from labkit.simulator.scenario import prepare
from labkit.simulator.schedule import Schedule
from labkit.simulator.simulation import Simulation

RANKS = 3


def cluster(without: str = "") -> Simulation:
    """Three ranks and the witness, which leads."""
    invariants = tuple(i for i in CHECKPOINTS.invariants if i.name != without)
    scenario = CHECKPOINTS._replace(invariants=invariants)
    sim = prepare(scenario, Schedule(seed=1, n=RANKS + 1)).run(0.1)
    views = [sim.node(rank).view for rank in range(RANKS)]
    assert {len(view.members) for view in views} == {RANKS}
    return sim


def manifests(sim: Simulation) -> list[str]:
    return [name for name in folder(sim).list() if name.endswith(".manifest")]


def newest(sim: Simulation) -> int:
    return max(map(number_of, manifests(sim)), default=0)


def asking(sim: Simulation) -> dict[int, set[int]]:
    """What the leader asks about, and who has not answered."""
    leader: Any = sim.node(sim.leader() or 0)
    return {number: set(leader.silent[number]) for number in leader.asking}


def test_savers_live_where_the_engine_has_clients() -> None:
    assert SAVERS == CLIENTS


def test_one_after_the_other_and_the_older_one_goes() -> None:
    sim = cluster()
    seen = []
    for _ in range(3):
        before = newest(sim)
        assert sim.run_until(lambda s, b=before: newest(s) > b, 2.0)
        seen.append(newest(sim))
    assert seen == [seen[0], seen[0] + 1, seen[0] + 2]
    sim.run(0.3)
    assert len(manifests(sim)) == 1


def test_whoever_dies_before_its_vote_ends_the_attempt() -> None:
    sim = cluster()
    assert sim.run_until(lambda s: SAVERS + 1 in set().union(*asking(s).values()), 2.0)
    (number,) = asking(sim)
    sim.inject(Kill(1))
    assert sim.run_until(lambda s: newest(s) > number, 5.0), "the two that are left go on"
    assert manifests(sim)[-1].startswith(f"{newest(sim)}.")
    assert not any(number_of(name) == number for name in manifests(sim))


@pytest.mark.case(34)
def test_34_whoever_dies_after_its_vote_holds_up_nobody_and_hears_the_decision() -> None:
    sim = cluster()

    def one_has_voted(s: Simulation) -> bool:
        return any(SAVERS + 1 not in left and left for left in asking(s).values())

    while not sim.run_until(one_has_voted, 1.0):
        pass
    (number,) = asking(sim)
    sim.inject(Kill(1))
    assert sim.run_until(lambda s: newest(s) == number, 1.0), "committed with the shard it left"
    sim.run(0.2)
    sim.inject(Restart(1))

    def has_ended(s: Simulation) -> bool:
        return dict(s.on_disk(SAVERS + 1).get("ended", ())).get(number) is True

    assert sim.run_until(has_ended, 2.0), "it asks, and is told the same"


def test_numbers_begin_behind_what_an_earlier_cluster_has_left() -> None:
    """Which P-S7 takes for numbers of another epoch."""
    sim = cluster(without="P-S7")
    folder(sim).write("77000005.step-3.rank-0-of-4", b"of long ago")
    assert sim.run_until(lambda s: newest(s) > 0, 5.0)
    assert newest(sim) > 77000005
