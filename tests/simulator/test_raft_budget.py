"""How long and how many messages, on a network on which every message takes 3 ms: the figures that
are promised for Raft where all is well (R-L1, R-L2, R-L8)."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from functools import partial

import pytest

from labkit.faults import Kill
from labkit.protocols.raft import Raft
from labkit.protocols.raft.client import Client
from labkit.protocols.raft.election import LEADER
from labkit.protocols.raft.messages import RequestVote, Vote
from labkit.protocols.raft.pre_vote import PreVoted, RequestPreVote
from labkit.simulator.network import Network
from labkit.simulator.scenarios import draw_command
from labkit.simulator.simulation import Simulation

T = 0.15
LATENCY = 0.003
STEADY = Network(low=LATENCY, high=LATENCY)


def peaceful(n: int, seed: int = 0, **options: object) -> Simulation:
    """A leader has been elected and has told everybody."""
    sim = Simulation(Raft, n, seed, network=STEADY, **options)  # type: ignore[arg-type]
    assert sim.run_until(lambda s: s.leader() is not None, within=20 * T)
    return sim.run(0.5)


def without_its_leader(n: int, seed: int) -> float:
    """Seconds until there is another; it dies somewhere between two of its beats."""
    sim = peaceful(n, seed).run(random.Random(seed).random())
    leader = sim.leader()
    assert leader is not None
    sim.inject(Kill(leader))
    begin = sim.now
    assert sim.run_until(lambda s: s.leader() is not None, within=20 * T)
    return sim.now - begin


@pytest.mark.parametrize("n", [3, 5, 7])
def test_an_idle_beat_costs_a_message_and_an_answer_for_each_other_node(n: int) -> None:
    sim = peaceful(n)
    leader, before = sim.node(sim.leader() or 0), sim.delivered
    rounds = leader.round

    sim.run(30 * T - sim.now % (T / 3))

    assert sim.delivered - before == 2 * (n - 1) * (leader.round - rounds)
    assert leader.round - rounds == pytest.approx(90, abs=1)


@pytest.mark.parametrize("n", [3, 5, 7])
@pytest.mark.parametrize("seed", range(4))
def test_who_stands_asks_each_other_node_twice_and_each_answers(n: int, seed: int) -> None:
    sim = Simulation(Raft, n, seed, network=STEADY, record=True).run(1.0)
    assert sim.recorder is not None
    trace = sim.recorder.trace

    sent = Counter(type(e.detail) for e in trace if e.what == "send")
    time_outs = sum(e.what == "timer" and e.detail == "election" for e in trace)
    candidacies = sum(e.what == "record" and "candidate" in e.detail.name for e in trace)

    assert 1 <= candidacies <= time_outs
    assert sent[RequestPreVote] == (n - 1) * time_outs >= sent[PreVoted]
    assert sent[RequestVote] == (n - 1) * candidacies >= sent[Vote]


def test_a_dead_leader_is_missed_for_as_long_as_the_formula_says() -> None:
    """T (1 + 1/(s + 1)) until the first of s live servers stands, less the mean age of the last
    beat, T/6; then two round trips, for PreVote and for the votes. What is above that are split
    votes."""
    seconds = sorted(without_its_leader(5, seed) for seed in range(200))

    formula = T * (1 + 1 / 5 - 1 / 6) + 4 * LATENCY

    assert formula < statistics.mean(seconds) < formula + 0.02
    assert seconds[197] < 2 * 2 * T  # the 99th of a hundred
    assert seconds[-1] < 10 * 2 * T


def test_a_call_takes_two_round_trips() -> None:
    """From the client to the leader and back, and from the leader to a majority and back."""
    client = partial(Client, choose=draw_command)
    sim = peaceful(5, clients={1000: client}).run(10.0)

    calls = [c for c in sim.node(1000).history if c.invoked > 1.0 and c.returned is not None]

    assert len(calls) > 100
    assert all(c.returned - c.invoked == pytest.approx(4 * LATENCY) for c in calls)
    assert sim.node(sim.leader() or 0).role == LEADER
