"""The measures of Chen, Toueg and Aguilera, on records whose answer is known, and by their laws."""

from __future__ import annotations

import math
from functools import partial

import pytest

from labkit.events import Event
from labkit.protocols.heartbeat import FixedTimeout, Heartbeat, PhiAccrual
from labkit.simulator.network import Network
from labkit.simulator.qos import of_events, of_pair
from labkit.simulator.scale import heartbeats, swim
from labkit.simulator.simulation import Simulation


def event(time: float, rank: int, kind: str, peer: int | None = None) -> Event:
    return Event(time, 0, rank, kind, data={} if peer is None else {"peer": peer})


STARTS = [event(0.0, 0, "start"), event(0.0, 1, "start")]


def test_mistakes_of_a_live_node() -> None:
    """Two suspicions, 2 s and 1 s long, 5 s from one begin to the other; the other node makes
    none, so both pairs were watched for 20 s in all."""
    told = [(1.0, "suspect"), (3.0, "trust"), (6.0, "suspect"), (7.0, "trust")]
    quality = of_events([*STARTS, *(event(t, 0, kind, 1) for t, kind in told)], end=10.0)
    assert quality.mistakes == (2.0, 1.0)
    assert quality.recurrences == (5.0,)
    assert (quality.watched, quality.detections) == (20.0, ())
    assert quality.rate == pytest.approx(2 / 20)
    assert quality.recurrence == pytest.approx(10.0)
    assert quality.accuracy == pytest.approx(1 - 3 / 20)


def test_a_crash_is_detected_when_it_is_suspected_for_good() -> None:
    """The suspicion at 4.5 s is taken back by a beat that was under way: it does not count."""
    told = [(4.5, "suspect"), (4.7, "trust"), (5.0, "suspect")]
    events = [*STARTS, event(4.0, 1, "death"), *(event(t, 0, kind, 1) for t, kind in told)]
    quality = of_events(events, end=10.0)
    assert quality.detections == (1.0,)
    assert quality.mistakes == ()
    assert quality.watched == 8.0  # two pairs, while both lived


def test_a_mistake_that_becomes_true_has_found_the_crash_at_once() -> None:
    events = [*STARTS, event(3.0, 0, "suspect", 1), event(4.0, 1, "death")]
    quality = of_events(events, end=10.0)
    assert (quality.detections, quality.mistakes) == ((0.0,), (1.0,))


def test_a_crash_that_nobody_notices_takes_for_ever() -> None:
    quality = of_events([*STARTS, event(4.0, 1, "death")], end=10.0)
    assert quality.detections == (math.inf,)


def test_a_suspicion_that_outlives_the_restart_was_right() -> None:
    events = [
        *STARTS,
        event(4.0, 1, "death"),
        event(5.0, 0, "suspect", 1),
        event(6.0, 1, "start"),
        event(6.5, 0, "trust", 1),
    ]
    quality = of_events(events, end=10.0)
    assert (quality.detections, quality.mistakes) == ((1.0,), ())


@pytest.mark.parametrize("timeout", [0.06, 0.11, 0.16])
def test_a_time_out_is_as_slow_as_it_says_and_as_wrong_as_losses_make_it(timeout: float) -> None:
    """T_D is uniform from τ - η to τ, plus a mean delay of 1 to 5 ms; a mistake needs k losses in a
    row, and then lasts what a beat's interval leaves of it: (k + 1) η - τ on the mean."""
    eta, loss, k = 0.05, 0.1, int(timeout / 0.05)
    quality = of_pair(partial(FixedTimeout, timeout=timeout), Network(loss=loss), eta, 100_000)
    fresh = 100_000 * (1 - loss)
    assert len(quality.mistakes) == pytest.approx(fresh * loss**k, rel=0.1)
    assert quality.slowest <= timeout + 0.005
    lost = sum(loss**j * (1 - loss) * ((j + 1) * eta - timeout) for j in range(k, 9)) / loss**k
    assert quality.duration == pytest.approx(lost, rel=0.05)
    without = of_pair(partial(FixedTimeout, timeout=timeout), Network(), eta, 10, crashes=400)
    assert without.detection == pytest.approx(timeout - eta / 2, abs=0.005)


def test_of_a_simulation_and_of_one_pair_the_measures_agree() -> None:
    """Five nodes in the simulator, 20 pairs, against one pair that draws nothing but arrivals. The
    protocol looks at its ticks only, and so misses some of the mistakes that last less."""
    network = Network(loss=0.2)
    detector = partial(PhiAccrual, threshold=3.0)
    sim = Simulation(partial(Heartbeat, detector=detector), 5, 1, network=network, record=True)
    seen = of_events(sim.run(40).events, end=40.0)
    pair = of_pair(detector, network, beats=20_000)
    assert 0.3 * pair.rate < seen.rate <= 1.1 * pair.rate


def test_swim_costs_the_same_for_each_member_and_heartbeats_do_not() -> None:
    few, many = swim(10), swim(200)
    assert len(many.noticed) == 199
    assert few.messages <= many.messages <= 2.1  # a ping and an ack in each period
    assert heartbeats(10).messages == 9
    assert heartbeats(10_000).messages == 9999
    assert heartbeats(10_000).last <= 4.0 + 1.0 + 0.005
    # by the paper (§3.2, §4.2): a probe within e/(e-1) periods, then the longest suspicion
    assert many.last <= 3 * 1.582 + 6 * 4 * math.log10(200) + math.log2(200)
