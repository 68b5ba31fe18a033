"""The fault matrix of failure detection: nine faults, each with a fixed time-out on one side and
with φ or SWIM on the other. What is expected stands in each test's words."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from random import Random
from statistics import fmean
from typing import Any

import pytest

from labkit.faults import At, Cut, Delay, Fault, FaultPlan, Kill, Pause, Restart, Slow
from labkit.protocols.heartbeat import FixedTimeout, Heartbeat, PhiAccrual
from labkit.protocols.swim import Swim
from labkit.simulator.network import Network
from labkit.simulator.qos import arrivals, deadline, of_events, of_pair
from labkit.simulator.simulation import Simulation

INTERVAL, TIMEOUT, LATENCY = 0.05, 0.2, 0.005
PHI = partial(Heartbeat, detector=PhiAccrual)
SWIM = partial(Swim, period=0.2, timeout=0.06)
SUSPICION = 6 * 4 * 0.2  # seconds that one lasts at most among five members
N = 5


def run(
    protocol: Any, *plan: tuple[float, Fault], seconds: float = 10.0, seed: int = 1, **how: Any
) -> Simulation:
    faults = FaultPlan(*(At(fault, seconds=when) for when, fault in plan))
    return Simulation(protocol, N, seed, faults, record=True, **how).run(seconds)


def said(sim: Simulation, kind: str, peer: int | None = None) -> list[tuple[float, int]]:
    """When, and by whom, it was said (of one peer)."""
    return [
        (e.time, e.rank) for e in sim.events if e.kind == kind and peer in (None, e.data["peer"])
    ]


def verdict(protocol: Any) -> str:
    return "lost" if protocol is SWIM else "suspect"


# -- crash


@pytest.mark.parametrize("seed", range(5))
def test_crash_time_out(seed: int) -> None:
    """T_D ≤ τ + δ, and up to one tick until the observer looks."""
    noticed = said(run(Heartbeat, (3.0, Kill(2)), seed=seed), "suspect", 2)
    assert {rank for _, rank in noticed} == {0, 1, 3, 4}
    assert all(at - 3.0 <= TIMEOUT + LATENCY + INTERVAL for at, _ in noticed)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("protocol", [PHI, SWIM], ids=["phi", "swim"])
def test_crash_phi_and_swim(protocol: Any, seed: int) -> None:
    """φ = 8 is 5.6 deviations, of 10 ms here, behind the mean; SWIM: a round of probes, and the
    longest suspicion."""
    sim = run(protocol, (3.0, Kill(2)), seed=seed, seconds=12)
    noticed = said(sim, verdict(protocol), 2)
    bound = 0.05 + 0.056 + LATENCY + INTERVAL if protocol is PHI else 2 * N * 0.2 + SUSPICION
    assert {rank for _, rank in noticed} == {0, 1, 3, 4}
    assert all(at - 3.0 <= bound for at, _ in noticed)


# -- loss of 1, 5, 20 %


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_loss_time_out(loss: float) -> None:
    """Mistakes ≈ p^k: with 180 ms, three beats must be lost in a row, so a beat that comes begins
    such a silence with probability p³."""
    beats = 200_000
    quality = of_pair(partial(FixedTimeout, timeout=0.18), Network(loss=loss), INTERVAL, beats)
    expected = beats * (1 - loss) * loss**3
    assert abs(len(quality.mistakes) - expected) <= 4 * math.sqrt(expected) + 1


def silence_borne(loss: float) -> float:
    """Seconds of silence that φ = 12 bears after 400 beats, on the average of ten histories."""
    borne = []
    for seed in range(10):
        came = [at for at, _ in arrivals(Network(loss=loss), INTERVAL, 400, Random(seed))]
        detector = PhiAccrual(came[0], threshold=12.0)
        for at in came[1:]:
            detector.beat(at)
        borne.append(deadline(detector, came[-1], furthest=10.0) - came[-1])
    return fmean(borne)


@pytest.mark.parametrize(("loss", "fewer"), [(0.01, 1), (0.05, 1), (0.2, 20)])
def test_loss_phi_and_swim(loss: float, fewer: int) -> None:
    """φ adapts: it bears longer silences, and is wrong no more often than the time-out that bears
    what φ bears without loss; where losses are usual, one time for twenty. In SWIM a lost message
    convicts nobody."""
    network, calm = Network(loss=loss), silence_borne(0.0)
    phi = of_pair(partial(PhiAccrual, threshold=12.0), network)
    time_out = of_pair(partial(FixedTimeout, timeout=calm), network)
    assert silence_borne(loss) > calm
    assert fewer * phi.rate <= time_out.rate
    sim = run(SWIM, seconds=60, network=network)
    assert said(sim, "lost") == []


# -- the delay grows tenfold


def slower(detector: Any) -> list[float]:
    """Seconds after a tenfold delay at which somebody is suspected; then for a minute more."""
    network = Network(low=0.01, high=0.02)
    protocol = partial(Heartbeat, detector=detector)
    sim = run(protocol, *((5.0, Slow(i, 10.0)) for i in range(1)), seconds=65, network=network)
    return [at - 5.0 for at, _ in said(sim, "suspect")]


def test_delay_step_time_out() -> None:
    """A burst of mistakes, and it does not end: 100 ms of jitter are too much for 110 ms."""
    mistakes = slower(partial(FixedTimeout, timeout=0.11))
    assert sum(at < 5 for at in mistakes) >= 5
    assert sum(at > 30 for at in mistakes) >= 5


def test_delay_step_phi() -> None:
    """At most a burst, and then it has learnt."""
    mistakes = slower(PhiAccrual)
    assert all(at < 15 for at in mistakes)
    sim = run(SWIM, (5.0, Slow(0, 10.0)), seconds=65)
    assert said(sim, "lost") == []


# -- the observed stands still for 500 ms


def test_stall_of_the_observed_time_out() -> None:
    """500 ms are more than τ: a mistake of everyone, corrected when it goes on."""
    quality = of_events(run(Heartbeat, (3.0, Pause(2, 0.5))).events)
    assert len(quality.mistakes) == 4
    assert all(0.2 <= lasts <= 0.5 - TIMEOUT + INTERVAL + LATENCY for lasts in quality.mistakes)


def test_stall_of_the_observed_phi_and_swim() -> None:
    """Suspicion and refutation; the history is not polluted: a later crash is noticed as fast."""
    sim = run(PHI, (3.0, Pause(2, 0.5)), (8.0, Kill(2)))
    assert len(said(sim, "trust", 2)) == 4
    noticed = [at - 8.0 for at, _ in said(sim, "suspect", 2) if at > 8.0]
    assert len(noticed) == 4
    assert max(noticed) <= 0.05 + 0.056 + LATENCY + INTERVAL
    raised = 0
    for seed in range(8):
        swim = run(SWIM, (3.0, Pause(2, 0.5)), seed=seed)
        assert said(swim, "lost") == []
        assert len(said(swim, "trust", 2)) == len(said(swim, "suspect", 2))
        raised += swim.node(2).incarnation
    assert raised > 0  # it did refute


# -- the observer stands still


@pytest.mark.parametrize("seconds", [0.3, 2.0, 20.0])
@pytest.mark.parametrize("protocol", [Heartbeat, PHI, SWIM], ids=["timeout", "phi", "swim"])
def test_stall_of_the_observer(protocol: Any, seconds: float) -> None:
    """0 convictions by the one that stood still, whether messages or timers come first."""
    for seed in range(4):
        sim = run(protocol, (3.0, Pause(1, seconds)), seconds=seconds + 8, seed=seed)
        assert not [rank for _, rank in said(sim, verdict(protocol)) if rank == 1]


# -- the wall clock jumps by an hour


@pytest.mark.case(50)
@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("protocol", [Heartbeat, PHI, SWIM], ids=["timeout", "phi", "swim"])
def test_clock_jump(protocol: Any, hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 effect: the run is the same, event by event."""

    def crash_in_the_middle(jump: Callable[[], None]) -> str:
        faults = FaultPlan(At(Kill(2), seconds=3.0))
        sim = Simulation(protocol, N, 1, faults, record=True).run(2.9)
        jump()
        recorder = sim.run(6.0).recorder
        assert recorder is not None
        return recorder.hash()

    steady = crash_in_the_middle(lambda: None)
    wall = time.time() + 3600 * hours
    assert crash_in_the_middle(lambda: monkeypatch.setattr(time, "time", lambda: wall)) == steady


# -- flapping, once a second

FLAPS = [(1.0 + k, Pause(2, 0.6)) for k in range(10)]


def test_flapping_time_out() -> None:
    """One suspicion by each for every flap, never one for every beat; with `steady`, one in all."""
    each = said(run(Heartbeat, *FLAPS, seconds=15), "suspect", 2)
    assert len(each) == 4 * len(FLAPS)
    calm = run(partial(Heartbeat, steady=1.0), *FLAPS, seconds=15)
    assert len(said(calm, "suspect", 2)) == len(said(calm, "trust", 2)) == 4


def test_flapping_swim() -> None:
    """The incarnation grows, and nobody goes from dead to alive and back."""
    sim = run(SWIM, *FLAPS, seconds=15)
    assert said(sim, "lost") == []
    assert sim.node(2).incarnation > 0
    assert all(sim.node(i).generation == 0 for i in range(N))


# -- an asymmetric link: 0 reaches 1 no more


def test_asymmetric_link_time_out() -> None:
    """Only 1 suspects 0. What follows from that needs a quorum."""
    sim = run(Heartbeat, (3.0, Cut(0, 1)))
    assert [(e.rank, e.data["peer"]) for e in sim.events if e.kind == "suspect"] == [(1, 0)]


@pytest.mark.parametrize("fault", [Cut(0, 1), Delay(0, 1, 5.0)], ids=["cut", "late"])
def test_asymmetric_link_swim(fault: Fault) -> None:
    """A ping through others keeps 0 alive: nobody is as much as suspected."""
    for seed in range(4):
        assert said(run(SWIM, (3.0, fault), seconds=30, seed=seed), "suspect") == []


# -- a restart at the same address


@pytest.mark.parametrize("away", [0.05, 2.0], ids=["unnoticed", "noticed"])
def test_restart_time_out(away: float) -> None:
    """A new incarnation, and the old state is dropped: also its progress and its habits."""
    sim = run(PHI, (3.0, Kill(2)), (3.0 + away, Restart(2)), seconds=3.0 + away + 0.5)
    for i in (0, 1, 3, 4):
        life, serial = sim.node(i).heard[2]
        assert (life, serial < 15) == (2, True)
        assert len(sim.node(i).watched[2].intervals) < 15
        assert sim.node(i).suspected == set()


@pytest.mark.parametrize("away", [0.05, 9.0], ids=["unnoticed", "noticed"])
def test_restart_swim(away: float) -> None:
    """A stale "faulty" does not kill it: it is of an earlier incarnation."""
    sim = run(SWIM, (3.0, Kill(2)), (3.0 + away, Restart(2)), seconds=20)
    back = 3.0 + away
    assert not [at for at, _ in said(sim, "lost", 2) if at > back]
    assert all(sim.node(i).belief(2) == (1, 0) for i in (0, 1, 3, 4))
    declared = len(said(sim, "lost", 2))
    assert declared == (0 if away < 1 else 4)


def test_loss_is_worse_for_a_short_time_out() -> None:
    """The trade-off that all rows have in common: faster is wrong more often."""
    network = Network(loss=0.1)
    found = [of_pair(partial(FixedTimeout, timeout=t), network) for t in (0.08, 0.13, 0.18)]
    assert [q.detection for q in found] == sorted(q.detection for q in found)
    assert [q.rate for q in found] == sorted((q.rate for q in found), reverse=True)
    assert fmean(q.accuracy for q in found) < 1
