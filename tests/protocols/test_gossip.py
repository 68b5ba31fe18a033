"""Gossip against the laws of its papers."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from statistics import fmean, geometric_mean, pvariance
from typing import Any

import pytest

from labkit.protocols.effects import Context, Record, Send, deliver, fire, start
from labkit.protocols.gossip import (
    PULL,
    PUSH,
    PUSH_PULL,
    Ask,
    Averaging,
    Heard,
    Pull,
    Push,
    Rumours,
    Tell,
)
from labkit.simulator.network import Network
from labkit.simulator.simulation import Simulation

N = 500


# -- averaging (Jelasity et al. 2005)


def test_two_meet_in_the_middle() -> None:
    here, there = (Averaging(i, (0, 1), Context(), {}, value={0: 10, 1: 4}) for i in (0, 1))
    start(here)
    push = fire(here, "period")[-1]
    assert push == Send(1, Push(10.0))
    (answer,) = deliver(there, 0, Push(10.0))
    assert answer == Send(0, Pull(-3.0))
    deliver(here, 1, Pull(-3.0))
    assert (here.value, there.value) == (7.0, 7.0)


def test_exchanges_that_overlap_keep_the_sum() -> None:
    """The push is under way when another one changes the value that it told of."""
    a, b, c = (Averaging(i, (0, 1, 2), Context(), {}, value=v) for i, v in enumerate((9, 0, 3)))
    for node in (a, b, c):
        start(node)
    (to_a,) = deliver(a, 2, Push(3.0))  # c pushes to a
    (to_b,) = deliver(b, 0, Push(9.0))  # and a has pushed to b before
    deliver(a, 1, to_b.message)  # type: ignore[union-attr]
    deliver(c, 0, to_a.message)  # type: ignore[union-attr]
    assert a.value + b.value + c.value == pytest.approx(12.0)


def test_the_variance_falls_to_a_third_in_each_period() -> None:
    """The paper's theorem: 1/(2√e), when each begins one exchange in a period."""
    everyone = {i: float(i) for i in range(N)}
    sim = Simulation(partial(Averaging, value=everyone), N, seed=3).run(0.01)
    spread = []
    for _ in range(12):
        spread.append(pvariance([node.value for node in sim.nodes.values()]))
        sim.run(1.0)
    factor = geometric_mean([b / a for a, b in pairwise(spread)])
    assert factor == pytest.approx(1 / (2 * math.sqrt(math.e)), rel=0.05)
    assert fmean(node.value for node in sim.nodes.values()) == pytest.approx(249.5, abs=0.1)


def test_the_mean_of_a_one_and_zeros_tells_how_many_there_are() -> None:
    """Counting without a list of members."""
    sim = Simulation(partial(Averaging, value={i: float(i == 0) for i in range(N)}), N, 1).run(30)
    assert all(1 / node.value == pytest.approx(N, rel=0.02) for node in sim.nodes.values())


def test_a_network_that_loses_answers_loses_some_of_the_sum() -> None:
    """Why the paper begins anew in epochs."""
    everyone = {i: float(i) for i in range(N)}
    sim = Simulation(partial(Averaging, value=everyone), N, 1, network=Network(loss=0.2)).run(20)
    mean = fmean(node.value for node in sim.nodes.values())
    assert abs(mean - 249.5) > 1


@pytest.mark.parametrize("protocol", [Averaging, Rumours])
def test_who_is_alone_tells_nobody(protocol: Any) -> None:
    assert Simulation(protocol, n=1).run(5.0).delivered == 0


# -- rumours (Demers et al. 1987)


def rumour(how: str, tired: float) -> Rumours:
    made = Rumours(0, (0, 1), Context(), {}, how=how, tired=tired, begins={0: "fire"})
    effects = start(made)
    assert effects[0] == Record("note", "has heard fire", rumour="fire")
    return made


@pytest.mark.parametrize(
    ("how", "sends"),
    [(PUSH, [Tell(("fire",))]), (PULL, [Ask()]), (PUSH_PULL, [Tell(("fire",)), Ask()])],
)
def test_who_knows_something_pushes_and_everyone_pulls(how: str, sends: list[object]) -> None:
    effects = fire(rumour(how, 2), "period")
    assert [e.message for e in effects if isinstance(e, Send)] == sends


def test_an_answer_to_a_pull_is_what_is_hot() -> None:
    assert deliver(rumour(PULL, 2), 1, Ask()) == [Send(1, Tell(("fire",)))]


def test_interest_ends_after_some_tellings_in_vain() -> None:
    made = rumour(PUSH, tired=2)
    assert deliver(made, 1, Tell(("fire",))) == [Send(1, Heard(("fire",)))]
    deliver(made, 1, Heard(("fire",)))
    assert made.hot == {"fire": 1}
    deliver(made, 1, Heard(("fire",)))
    assert made.hot == {}
    assert made.known == {"fire"}
    assert not [e for e in fire(made, "period") if isinstance(e, Send)]


@pytest.mark.parametrize("tired", [1, 2, 3])
def test_the_residue_is_the_papers(tired: int) -> None:
    """§1.4: s = e^{-(k+1)(1-s)} never hear of it: 20 %, 6 %, 2 %."""
    law = 0.5
    for _ in range(100):
        law = math.exp(-(tired + 1) * (1 - law))
    found = []
    for seed in range(6):
        spread = partial(Rumours, tired=tired, begins={0: "fire"})
        sim = Simulation(spread, N, seed)
        sim.run(40)
        assert not any(node.hot for node in sim.nodes.values())
        found.append(fmean(not node.known for node in sim.nodes.values()))
    assert fmean(found) == pytest.approx(law, rel=0.35)


def reached(how: str, seed: int) -> list[float]:
    """When each member has heard, if nobody ever tires."""
    spread = partial(Rumours, how=how, tired=math.inf, begins={0: "fire"})
    sim = Simulation(spread, N, seed, record=True).run(30)
    return sorted(e.time for e in sim.events if e.kind == "note")


@pytest.mark.slow
def test_push_pull_is_faster_than_either_and_pull_ends_faster_than_push() -> None:
    """§1.3: the share s of those who have not heard falls to s² in a round of pull, to s/e in one
    of push."""
    push, pull, both = (reached(how, seed=2) for how in (PUSH, PULL, PUSH_PULL))
    assert len(push) == len(pull) == len(both) == N
    nearly = round(0.9 * N)
    assert both[-1] < min(push[-1], pull[-1])
    assert pull[-1] - pull[nearly] < push[-1] - push[nearly]
