"""Two-phase commit whose decision is an entry in a Raft log: it does not block."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from labkit.faults import CrashAt, Heal, Kill, Partition
from labkit.protocols.effects import Context, Send, deliver, start
from labkit.protocols.raft.entries import Snapshot
from labkit.protocols.raft.messages import Entry
from labkit.protocols.two_phase_commit import Begin, Decision, Inquire, Voted
from labkit.protocols.two_phase_commit.messages import EPOCH
from labkit.protocols.two_phase_commit.replicated import (
    AbortUndecided,
    Decide,
    ReplicatedCoordinator,
    replicated_commit,
)
from labkit.simulator.invariants.commit import INVARIANTS
from labkit.simulator.invariants.commit_progress import Forgets, ResolvedByFailover, doubts
from labkit.simulator.simulation import Simulation
from labkit.simulator.transactions import Once

REPLICAS, PARTICIPANTS = (0, 1, 2), (3, 4, 5)
ROUND_TRIP = 2 * 0.005  # seconds, at most


def simulation(seed: int = 1, **settings: Any) -> Simulation:
    """A client asks all replicas to begin: the one that leads will do it."""
    client = partial(Once, coordinators=REPLICAS, clerks=PARTICIPANTS)
    return Simulation(
        replicated_commit,
        3,
        seed,
        invariants=INVARIANTS,
        clients={1000: client},
        spares=3,
        record=True,
        **settings,
    )


def ends(sim: Simulation) -> list[bool | None]:
    """By participant, as its disk says."""
    all_ends = [sim.on_disk(p).get("ended", ()) for p in PARTICIPANTS]
    return [end[-1][1] if end else None for end in all_ends]


def all_in_doubt(sim: Simulation) -> bool:
    return sorted(doubts(sim)) == [*PARTICIPANTS]


def coordinator(sim: Simulation) -> ReplicatedCoordinator | None:
    nodes = [sim.node(i) for i in REPLICAS if sim.alive(i)]
    return next((node for node in nodes if node.coordinates), None)


def test_without_a_fault_all_commit_and_the_replicas_forget() -> None:
    sim = simulation(wire=True).run(3)
    assert ends(sim) == [True] * 3
    Forgets.judge(sim, within=1.0)


def test_a_replica_that_does_not_lead_begins_nothing() -> None:
    sim = simulation().run(3)
    decided = [e for e in sim.events if e.name == "decides to commit"]
    assert len(decided) == 1
    assert decided[0].rank == sim.leader()


@pytest.mark.parametrize("seed", range(20))
def test_in_doubt_nobody_waits_longer_than_the_fail_over_takes(seed: int) -> None:
    """P-L3. The leader dies in the window in which two-phase commit blocks; from the moment at
    which its successor has its entry in the log, or somebody first asks, it takes a round trip."""
    sim = simulation(seed)
    assert sim.run_until(all_in_doubt, within=3)
    leader = sim.leader()
    assert leader is not None
    sim.inject(Kill(leader))
    assert sim.run_until(lambda sim: coordinator(sim) is not None, within=10 * 0.3)
    taken_over = sim.now
    ResolvedByFailover.judge(sim, within=0.6)
    asked: dict[int, float] = {}  # when each of them first did
    for event in sim.events:
        if event.name == "is in doubt":
            asked.setdefault(event.rank, event.time)
    assert sim.now <= max(taken_over, *asked.values()) + ROUND_TRIP
    assert len(set(ends(sim))) == 1


@pytest.mark.parametrize("moment", ["begins", "hears the last vote", "learns that it is chosen"])
@pytest.mark.parametrize("effects", range(8))
def test_the_leader_may_die_after_any_effect_and_blocks_nobody(moment: str, effects: int) -> None:
    """It does not come back. On `Begin` it sends Prepare to three and sets two timers; on the last
    vote it writes its entry and sends it; when that is chosen it tells three participants."""
    for seed in range(5):
        sim = simulation(seed)
        sim.run(0.99)
        if moment != "begins":
            votes = 2 if moment == "hears the last vote" else 3
            assert sim.run_until(lambda sim, votes=votes: old_votes(sim) == votes, within=3)
        leader = sim.leader()
        assert leader is not None
        sim.inject(CrashAt(leader, effects))
        sim.run(2.0)
        assert not sim.alive(leader)
        ResolvedByFailover.judge(sim, within=10 * 0.3 + 0.5 + ROUND_TRIP)
        known = {end for end in ends(sim) if end is not None}
        assert len(known) <= 1, "old or new, never a mixture"
        assert known <= {False} or ends(sim) == [True] * 3


def test_a_leader_that_is_cut_off_decides_nothing_any_more() -> None:
    """P-S7: it has all votes and proposes to commit; its successor aborts; its own entry is gone
    when it comes back."""
    sim = simulation()
    assert sim.run_until(lambda sim: old_votes(sim) == 2, within=3)
    old = sim.leader()
    others = tuple(i for i in REPLICAS if i != old)
    sim.inject(Partition(((old, *PARTICIPANTS), others)))  # type: ignore[arg-type]
    sim.run(0.1)
    proposed = [e.command for e in sim.node(old).log]  # type: ignore[arg-type]
    assert Decide(EPOCH * sim.node(old).term + 1, PARTICIPANTS) in proposed  # type: ignore[arg-type]
    sim.run(2.0)
    assert ends(sim) == [None] * 3, "cut off from those who could tell them"
    sim.inject(Heal())
    sim.run(5.0)
    assert ends(sim) == [False] * 3
    committed = [e.command for i in REPLICAS for e in sim.node(i).log]
    assert not any(isinstance(command, Decide) for command in committed)


def old_votes(sim: Simulation) -> int:
    node = coordinator(sim)
    return max((3 - len(node.silent[t]) for t in node.asking), default=0) if node else 0


# -- handler by handler: a replica that leads alone


def alone(**stored: Any) -> ReplicatedCoordinator:
    founded = {"identity": 0, "voters": ((0, 0),), **stored}
    node = ReplicatedCoordinator(0, (0,), Context(), founded)
    start(node)
    return node


def lead(node: ReplicatedCoordinator) -> None:
    while not node.leads:
        list(node.on_election())


def test_its_first_entry_aborts_what_is_undecided() -> None:
    node = alone()
    lead(node)
    assert AbortUndecided(node.term * EPOCH) in [entry.command for entry in node.log]
    assert node.coordinates


def test_before_that_entry_is_committed_it_keeps_the_questions() -> None:
    node = alone()
    assert deliver(node, 3, Inquire(7)) == []
    assert node.questions == {(3, 7)}
    effects = list(node.on_election())
    assert node.coordinates
    assert Send(3, Decision(7, False)) in effects


def test_a_leader_whose_entry_is_not_chosen_yet_answers_and_begins_nothing() -> None:
    """Its predecessor could still commit."""
    founded = {"identity": 0, "voters": ((0, 0), (1, 1), (2, 2))}
    node = ReplicatedCoordinator(0, (0, 1, 2), Context(), founded)
    start(node)
    list(node.become_candidate())
    list(node.become_leader())
    assert node.leads
    assert not any(type(e) is Send for e in deliver(node, 3, Inquire(7)))
    assert deliver(node, 1000, Begin((3, 4))) == []
    assert node.questions == {(3, 7)}


def test_what_the_log_has_decided_is_told_by_the_next_leader() -> None:
    """Presumed abort, from the log: a decision that stands there is told, all else is aborted."""
    node = alone(term=1)
    node.log = [Entry(1, Decide(EPOCH + 1, (3, 4)))]
    deliver(node, 3, Inquire(EPOCH + 1))
    deliver(node, 3, Inquire(EPOCH + 2))
    effects = list(node.on_election())
    assert Send(3, Decision(EPOCH + 1, True)) in effects
    assert Send(3, Decision(EPOCH + 2, False)) in effects
    assert node.silent == {EPOCH + 1: {3, 4}}


def test_decisions_that_are_not_forgotten_are_part_of_a_snapshot() -> None:
    node = alone()
    lead(node)
    deliver(node, 1000, Begin((3, 4)))
    for participant in (3, 4):
        deliver(node, participant, Voted(node.number, True))
    assert node.committed == {node.number: (3, 4)}
    snapshot = Snapshot(node.last_applied, node.term, node.state())
    again = alone(snapshot=snapshot, term=node.term)
    assert again.committed == node.committed
