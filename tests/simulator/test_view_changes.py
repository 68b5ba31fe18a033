"""The agreement on views in the simulator: how soon, and down to the last rank."""

from __future__ import annotations

import random

import pytest

from labkit.faults import Kill, Restart
from labkit.protocols.views import NextView, Views
from labkit.simulator.invariants import views
from labkit.simulator.network import Network
from labkit.simulator.simulation import Simulation

SEEDS = range(20)


def cluster(ranks: int, seed: int) -> Simulation:
    """So many ranks and a witness, in their first view."""
    invariants = (views.Hosts, *views.INVARIANTS)
    sim = Simulation(Views, ranks + 1, seed, network=Network(), invariants=invariants, record=True)
    assert in_one_view(sim, set(range(ranks)), within=1.0)
    return sim


def in_one_view(sim: Simulation, ranks: set[int], within: float) -> bool:
    """Whether these ranks, and no other, come to be in a view that all of them have installed."""

    def agreed(s: Simulation) -> bool:
        seen = {s.node(rank).view if s.alive(rank) else NextView() for rank in ranks}
        return len(seen) == 1 and {member.rank for member in seen.pop().members} == ranks

    return sim.run_until(agreed, within)


def views_of(sim: Simulation, rank: int) -> list[str]:
    return [e.name for e in sim.events if e.kind == "view" and e.rank == rank]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_death_is_one_view(seed: int) -> None:
    sim = cluster(4, seed)

    sim.inject(Kill(2))

    assert in_one_view(sim, {0, 1, 3}, within=0.05)
    sim.run(1.0)
    assert views_of(sim, 0) == ["view 1 {0,1,2,3}", "view 2 {0,1,3}"]


@pytest.mark.case(4)
@pytest.mark.parametrize("seed", SEEDS)
def test_two_deaths_at_once_of_four_ranks(seed: int) -> None:
    sim = cluster(4, seed)

    sim.inject(Kill(0))
    sim.inject(Kill(3))

    assert in_one_view(sim, {1, 2}, within=0.05)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rank_and_the_witness_at_once_cost_an_election(seed: int) -> None:
    sim = cluster(4, seed)

    sim.inject(Kill(4))
    sim.inject(Kill(1))

    assert in_one_view(sim, {0, 2, 3}, within=0.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_after_the_other_down_to_the_last_rank_and_up_again(seed: int) -> None:
    draw = random.Random(seed)
    sim = cluster(5, seed).run(1.0)
    order = draw.sample(range(5), 5)
    for dead, rank in enumerate(order[:-1], start=1):
        sim.inject(Kill(rank))
        assert in_one_view(sim, set(order[dead:]), within=0.5)
        sim.run(0.5)  # in which the voters follow

    sim.inject(Kill(order[-1]))
    for back, rank in enumerate(order, start=1):
        sim.inject(Restart(rank))
        assert in_one_view(sim, set(order[:back]), within=0.5)
        sim.run(0.5)


def test_without_a_majority_there_is_no_view_until_a_voter_is_back() -> None:
    sim = cluster(4, seed=0)
    for rank in (1, 2, 3):
        sim.inject(Kill(rank))

    assert not in_one_view(sim, {0}, within=5.0)
    sim.inject(Restart(2))

    assert in_one_view(sim, {0, 2}, within=1.0)


def test_the_witness_leads_again_once_it_is_back() -> None:
    sim = cluster(4, seed=0)
    sim.inject(Kill(4))
    assert sim.run_until(lambda s: s.leader() in {0, 1, 2, 3}, within=1.0)

    sim.inject(Restart(4))

    assert sim.run_until(lambda s: s.leader() == 4, within=1.0)
    assert views_of(sim, 0) == ["view 1 {0,1,2,3}"]
