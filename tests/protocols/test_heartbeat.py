"""Failure detectors: what they must do in silence, under load, and after somebody stood still."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest

from labkit.faults import At, Cut, Drift, FaultPlan, Kill, Pause, Restart
from labkit.protocols.effects import Context, Record, deliver, fire, start
from labkit.protocols.heartbeat import (
    Beat,
    FixedTimeout,
    Heartbeat,
    PhiAccrual,
    log10_of_tail,
)
from labkit.simulator.mutants import Mutant, applied
from labkit.simulator.mutants.detectors import DETECTORS
from labkit.simulator.network import Network
from labkit.simulator.simulation import Simulation

PHI = partial(Heartbeat, detector=PhiAccrual)
BOTH = pytest.mark.parametrize("protocol", [Heartbeat, PHI], ids=["timeout", "phi"])


def said(sim: Simulation, kind: str, peer: int) -> list[tuple[float, int]]:
    """When, and by whom, it was said of `peer`."""
    return [(e.time, e.rank) for e in sim.events if e.kind == kind and e.data["peer"] == peer]


def regular(detector: Any, until: float, interval: float = 0.05) -> float:
    now = 0.0
    while now < until:
        now += interval
        detector.beat(now)
    return now


# -- φ (Hayashibara et al. 2004)


def test_phi_is_finite_and_grows_with_the_silence() -> None:
    detector = PhiAccrual(0.0)
    last = regular(detector, 10.0)
    silences = [0.01, 0.05, 0.1, 1.0, 10.0, 1e3, 1e6, 1e9]
    values = [detector.phi(last + silence) for silence in silences]
    assert all(math.isfinite(v) and v >= 0 for v in values)
    assert values == sorted(values)


def test_the_two_formulas_of_the_tail_meet() -> None:
    assert log10_of_tail(0.0) == pytest.approx(math.log10(0.5))
    assert log10_of_tail(19.9999) == pytest.approx(log10_of_tail(20.0001), rel=1e-4)


def test_phi_is_a_guess_before_the_first_beat() -> None:
    detector = PhiAccrual(0.0, guess=0.05)
    assert not detector.suspects(0.08)
    assert detector.suspects(1.0)


def test_phi_adapts_to_slow_beats() -> None:
    quick, slow = PhiAccrual(0.0), PhiAccrual(0.0, guess=0.5)
    a, b = regular(quick, 20.0, 0.05), regular(slow, 20.0, 0.5)
    assert quick.suspects(a + 0.4)
    assert not slow.suspects(b + 0.55)


def notices_after(detector: PhiAccrual, last: float) -> float:
    """Seconds of silence, at most 5."""
    return next((s / 1000 for s in range(5000) if detector.suspects(last + s / 1000)), 5.0)


def test_an_outage_does_not_make_it_numb() -> None:
    """d03: after an outage of 30 s a crash is noticed as fast as before."""
    detector = PhiAccrual(0.0)
    last = regular(detector, 5.0)
    before = notices_after(detector, last)
    detector.beat(last + 30)
    after = notices_after(detector, last + 30)
    assert after == pytest.approx(before, abs=0.002)


# -- the protocol, one node by hand


def alone() -> Heartbeat:
    node = Heartbeat(0, (0, 1), Context(), {}, detector=FixedTimeout)
    start(node)
    return node


def tick(node: Heartbeat, now: float) -> list[str]:
    node.context.now = now
    return [e.kind for e in fire(node, "tick") if isinstance(e, Record)]


def test_a_late_beat_of_an_earlier_life_revives_nobody() -> None:
    """d07."""
    node = alone()
    deliver(node, 1, Beat(life=2))
    for i in range(1, 7):
        said = tick(node, i * 0.05)
    assert node.suspected == {1}
    assert said in (["suspect"], [])
    assert deliver(node, 1, Beat(life=1)) == []
    assert node.suspected == {1}
    assert [e.kind for e in deliver(node, 1, Beat(life=3)) if isinstance(e, Record)] == ["trust"]


def test_a_restart_is_a_new_life() -> None:
    first = Heartbeat(0, (0, 1), Context(), {})
    assert first.life == 1
    assert Heartbeat(0, (0, 1), Context(), {"life": 1}).life == 2


def test_an_observer_that_stood_still_convicts_nobody() -> None:
    node = alone()
    tick(node, 0.05)
    assert tick(node, 5.0) == []  # five seconds late: whose silence was it?
    assert tick(node, 5.05) == []
    assert [tick(node, 5.05 + i * 0.05) for i in range(1, 6)].count(["suspect"]) == 1


def test_a_gray_failure_shows_in_the_progress() -> None:
    node = Heartbeat(0, (0, 1), Context(), {}, stuck=1.0)
    start(node)
    told = []
    for i in range(1, 60):
        node.context.now = i * 0.05
        deliver(node, 1, Beat(1, progress=min(i, 20)))
        told += [e.name for e in fire(node, "tick") if isinstance(e, Record)]
    assert told == ["rank 1 beats and does not work"]


# -- in the simulator


@BOTH
def test_a_crash_is_noticed_by_all_and_in_time(protocol: Any) -> None:
    """D-C1. A time-out of τ is over at most τ + two ticks after the last beat."""
    sim = Simulation(protocol, 5, 1, FaultPlan(At(Kill(2), seconds=3.0)), record=True).run(6)
    noticed = said(sim, "suspect", 2)
    assert {rank for _, rank in noticed} == {0, 1, 3, 4}
    assert all(3.0 < time < 3.0 + 0.2 + 0.1 + 0.005 for time, _ in noticed)


@BOTH
def test_nobody_is_suspected_while_all_is_well(protocol: Any) -> None:
    sim = Simulation(protocol, 5, 1, record=True).run(60)
    assert not [e for e in sim.events if e.kind == "suspect"]


@BOTH
def test_a_restarted_node_is_trusted_again(protocol: Any) -> None:
    plan = FaultPlan(At(Kill(2), seconds=3.0), At(Restart(2), seconds=4.0))
    sim = Simulation(protocol, 3, 1, plan, record=True).run(6)
    assert {rank for _, rank in said(sim, "trust", 2)} == {0, 1}
    assert all(not sim.node(i).suspected for i in range(3))
    assert not said(sim, "suspect", 0)  # the new life does not begin with old suspicions


@BOTH
def test_a_stall_of_the_observer_convicts_nobody(protocol: Any) -> None:
    sim = Simulation(protocol, 3, 1, FaultPlan(At(Pause(1, 2.0), seconds=3.0)), record=True).run(9)
    assert not [e for e in sim.events if e.kind == "suspect" and e.rank == 1]
    assert {rank for _, rank in said(sim, "suspect", 1)} == {0, 2}
    assert all(not sim.node(i).suspected for i in range(3))


@BOTH
def test_an_asymmetric_link_is_suspected_on_one_side_only(protocol: Any) -> None:
    sim = Simulation(protocol, 3, 1, FaultPlan(At(Cut(0, 1), seconds=3.0)), record=True).run(6)
    assert [rank for _, rank in said(sim, "suspect", 0)] == [1]
    assert not said(sim, "suspect", 1)


@BOTH
def test_a_clock_that_drifts_makes_no_mistakes(protocol: Any) -> None:
    sim = Simulation(protocol, 3, 1, FaultPlan(At(Drift(1, 1.2), seconds=3.0)), record=True)
    assert not [e for e in sim.run(30).events if e.kind == "suspect"]


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_mistakes_of_a_time_out_are_the_chance_of_losing_several_beats(loss: float) -> None:
    """Four beats must be lost in a row: about loss⁴ of all beats begin such a silence."""
    sim = Simulation(Heartbeat, 3, 1, network=Network(loss=loss), record=True).run(400)
    mistakes = sum(e.kind == "suspect" for e in sim.events)
    expected = 6 * 400 / 0.05 * loss**4 * (1 - loss)
    assert mistakes <= 3 * expected + 3
    assert mistakes >= expected / 3 - 3


# -- the bugs that others had

KILLERS = {
    "d01": lambda: test_a_crash_is_noticed_by_all_and_in_time(Heartbeat),
    "d03": test_an_outage_does_not_make_it_numb,
    "d05": test_phi_is_finite_and_grows_with_the_silence,
    "d07": test_a_late_beat_of_an_earlier_life_revives_nobody,
}


@pytest.mark.parametrize("mutant", DETECTORS, ids=lambda mutant: mutant.id)
def test_a_mutant_is_killed(mutant: Mutant) -> None:
    with applied(mutant), pytest.raises((AssertionError, ValueError)):
        KILLERS[mutant.id]()
