"""Two-phase commit with a crash at every point: before prepare (Q0), the shard written and the vote
not sent (Q1), in doubt (Q2), decided and not told (Q3), told to some (Q4), acknowledged (Q5)."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.faults import At, CrashAt, Fault, FaultPlan, Kill, Partition, Restart
from labkit.protocols.effects import Context, Effects, Persist, Protocol, Send, SetTimer, deliver
from labkit.protocols.two_phase_commit import (
    Acknowledged,
    Begin,
    Coordinator,
    Decision,
    Inquire,
    Participant,
    Prepare,
    Voted,
    two_phase_commit,
)
from labkit.simulator.invariants.commit import INVARIANTS, doubts
from labkit.simulator.simulation import Simulation


class Once(Protocol):
    """A client that begins one transaction at one second."""

    def on_start(self) -> Effects:
        yield SetTimer("begin", 1.0 - self.context.now)

    def on_begin(self) -> Effects:
        yield Send(0, Begin())


def run(*faults: tuple[float, Fault], seconds: float = 10.0) -> Simulation:
    plan = FaultPlan(*(At(fault, seconds=time) for time, fault in faults))
    sim = Simulation(
        two_phase_commit, 3, 1, plan, invariants=INVARIANTS, clients={1000: Once}, record=True
    )
    return sim.run(seconds)


def ends(sim: Simulation) -> dict[int, list[bool]]:
    """By participant, how the transactions ended, as its disk says."""
    return {i: [c for _, c in sim.on_disk(i).get("ended", ())] for i in (1, 2)}


COMMITTED, ABORTED = {1: [True], 2: [True]}, {1: [False], 2: [False]}


def test_without_a_fault_all_commit_and_the_coordinator_forgets() -> None:
    sim = run()
    assert ends(sim) == COMMITTED
    assert sim.on_disk(0)["committed"] == ()


# The coordinator's handlers: Begin has Prepare to 1, Prepare to 2, a timer; the last Voted has
# CancelTimer, Persist, Record, Decision to 1, Decision to 2, a timer.
BACK = (3.0, Restart(0))


@pytest.mark.parametrize(
    ("effects", "outcome"),
    [(0, {1: [], 2: []}), (1, {1: [False], 2: []})],
    ids=["Q0 nobody was asked", "Q1 one was asked"],
)
def test_a_coordinator_that_dies_while_it_asks(effects: int, outcome: Any) -> None:
    sim = run((0.9, CrashAt(0, effects)), BACK)
    assert ends(sim) == outcome


@pytest.mark.parametrize("effects", [0, 1])
def test_a_coordinator_that_dies_before_its_decision_is_durable(effects: int) -> None:
    """Q2: all have voted yes and are in doubt; after the restart, presumed abort."""
    sim = run((1.005, CrashAt(0, effects)), BACK, seconds=2.5)
    if sim.alive(0):
        pytest.fail("the votes came before the crash was due")
    assert doubts(sim)[1]
    assert any(e.name == "is in doubt" for e in sim.events)
    sim.run(5)
    assert ends(sim) in (ABORTED, {1: [False], 2: []}, {1: [], 2: [False]})


@pytest.mark.parametrize("effects", [3, 4, 5])
def test_a_coordinator_that_dies_after_its_decision_commits_when_it_is_back(effects: int) -> None:
    """Q3 and Q4: the decision is on the disk, told to none or to some."""
    sim = _crash_at_decision(effects)
    sim.run(8)
    assert ends(sim) == COMMITTED
    assert sim.on_disk(0)["committed"] == ()


def test_a_coordinator_that_is_gone_for_good_blocks_those_in_doubt() -> None:
    """P-L2: plain two-phase commit blocks here, and only here; it says so and guesses nothing."""
    sim = _crash_at_decision(3, back=False)
    sim.run(60)
    assert ends(sim) == {1: [], 2: []}
    assert all(doubts(sim).values())
    assert sum(e.name == "is in doubt" for e in sim.events) > 20


def test_one_who_knows_tells_the_other() -> None:
    """Cooperative termination (Bernstein et al. 1987, §7.4): no coordinator is needed for it."""
    sim = _crash_at_decision(4, back=False)
    sim.run(8)
    assert ends(sim) == COMMITTED


def _crash_at_decision(effects: int, back: bool = True) -> Simulation:
    """The coordinator crashes inside the handler of the last yes, after so many effects."""
    sim = Simulation(
        two_phase_commit, 3, 1, invariants=INVARIANTS, clients={1000: Once}, record=True
    )
    both = sim.run_until(lambda s: any(len(v) == 1 for v in _votes(s)), within=3)
    assert both, "nobody has voted yes"
    sim.inject(CrashAt(0, effects))
    assert sim.run_until(lambda s: not s.alive(0), within=1)
    if back:
        sim.run(1.0)
        sim.inject(Restart(0))
    return sim


def _votes(sim: Simulation) -> list[set[int]]:
    return list(sim.node(0).votes.values()) if sim.alive(0) else []


def test_a_participant_that_dies_in_doubt_asks_when_it_is_back() -> None:
    sim = Simulation(
        two_phase_commit, 3, 1, invariants=INVARIANTS, clients={1000: Once}, record=True
    )
    assert sim.run_until(lambda s: bool(s.on_disk(1).get("prepared")), within=3)
    sim.inject(Kill(1))
    sim.run(2)
    sim.inject(Restart(1))
    sim.run(5)
    assert ends(sim) == COMMITTED


def test_a_participant_that_is_lost_before_its_vote_aborts_the_others() -> None:
    assert ends(run((0.5, Kill(1)))) == {1: [], 2: [False]}


def test_nobody_decides_alone_behind_a_partition() -> None:
    sim = Simulation(two_phase_commit, 3, 1, invariants=INVARIANTS, clients={1000: Once})
    assert sim.run_until(lambda s: bool(s.on_disk(1).get("prepared")), within=3)
    sim.inject(Partition(((0, 2), (1,))))
    sim.run(30)
    assert doubts(sim)[1]
    assert ends(sim)[1] == []
    sim.heal()
    sim.run(5)
    assert ends(sim)[1] == ends(sim)[2]


# -- single handlers: init, act, check


def participant(stored: dict[str, Any] | None = None) -> Participant:
    return Participant(1, (0, 1, 2), Context(), stored or {})


def test_a_yes_is_written_before_it_is_sent() -> None:
    node = participant()
    effects = deliver(node, 0, Prepare(7, None))
    assert effects[:2] == [Persist(prepared=(7,), fence=7), Send(0, Voted(7, True))]


def test_a_prepare_that_comes_twice_is_answered_twice_and_done_once() -> None:
    node = participant({"prepared": (7,), "fence": 7})
    assert deliver(node, 0, Prepare(7, None)) == [Send(0, Voted(7, True))]


def test_a_late_prepare_of_an_earlier_transaction_is_refused() -> None:
    node = participant({"fence": 9})
    assert deliver(node, 0, Prepare(7, None)) == [Send(0, Voted(7, False))]


def test_who_has_not_voted_may_abort_for_all_and_then_never_votes_yes() -> None:
    node = participant()
    assert deliver(node, 2, Inquire(7)) == [Persist(fence=7), Send(2, Decision(7, False))]
    assert deliver(node, 0, Prepare(7, None)) == [Send(0, Voted(7, False))]


def test_presumed_abort_is_an_answer_without_a_record() -> None:
    node = Coordinator(0, (0, 1, 2), Context(), {"lives": 1, "committed": (5,)})
    assert deliver(node, 1, Inquire(5)) == [Send(1, Decision(5, True))]
    assert deliver(node, 1, Inquire(6)) == [Send(1, Decision(6, False))]


def test_a_commit_is_forgotten_when_all_have_acknowledged_it() -> None:
    node = Coordinator(0, (0, 1, 2), Context(), {"lives": 1, "committed": (5,)})
    assert deliver(node, 1, Acknowledged(5)) == []
    assert deliver(node, 1, Acknowledged(5)) == []
    assert deliver(node, 2, Acknowledged(5))[-1] == Persist(committed=())
