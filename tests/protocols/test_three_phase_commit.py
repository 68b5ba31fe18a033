"""Three-phase commit: what it was made for, and what breaks it (Skeen 1981; Bernstein, Hadzilacos
and Goodman 1987, §7.5)."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import pytest

from labkit.faults import CrashAt, Heal, Kill, Partition, Restart
from labkit.protocols.effects import (
    Broadcast,
    Context,
    Persist,
    Send,
    deliver,
    fire,
)
from labkit.protocols.three_phase_commit import (
    ABORTED,
    COMMITTED,
    PRECOMMITTED,
    UNCERTAIN,
    PreCommit,
    PreCommitted,
    State,
    StateRequest,
    ThreePhaseCommit,
)
from labkit.protocols.two_phase_commit import Begin, Decision, Prepare, Voted, two_phase_commit
from labkit.simulator.exhaustive import agreement, exhaustive
from labkit.simulator.explore import explore
from labkit.simulator.invariants.commit import Agreement, Stability
from labkit.simulator.node import Factory
from labkit.simulator.scenarios import scenario
from labkit.simulator.simulation import Simulation
from labkit.simulator.transactions import Once

PARTICIPANTS = (1, 2, 3)
CLIENTS = {1000: partial(Once, coordinators=(0,), clerks=PARTICIPANTS)}


def simulation(protocol: Factory = ThreePhaseCommit, seed: int = 1) -> Simulation:
    return Simulation(
        protocol, 4, seed, invariants=(Agreement, Stability), clients=CLIENTS, record=True
    )


def states(sim: Simulation) -> list[str | None]:
    """By participant, as its disk says."""
    return [dict(sim.on_disk(p).get("states", ())).get(1) for p in PARTICIPANTS]


def one_vote_missing(sim: Simulation) -> bool:
    return sim.alive(0) and [len(silent) for silent in sim.node(0).voting.values()] == [1]


# -- what it was made for


def test_without_a_fault_all_commit() -> None:
    assert states(simulation().run(3)) == [COMMITTED] * 3


@pytest.mark.parametrize("effects", range(4))
def test_the_death_of_the_coordinator_blocks_nobody(effects: int) -> None:
    """In the window in which two-phase commit blocks: all have voted yes. Its effects are PreCommit
    to 1, to 2, to 3, and a timer: whoever has been told brings the others to commit."""
    sim = simulation()
    sim.run_until(one_vote_missing, within=3)
    sim.inject(CrashAt(0, effects))
    sim.run(1.0)
    assert not sim.alive(0)
    assert states(sim) == [COMMITTED if effects else ABORTED] * 3


@pytest.mark.parametrize("effects", range(6))
def test_nor_does_the_death_of_the_next_who_leads(effects: int) -> None:
    sim = simulation()
    sim.run_until(one_vote_missing, within=3)
    sim.inject(CrashAt(0, 1))  # rank 1 alone has been told
    sim.run_until(lambda sim: states(sim) == [PRECOMMITTED, UNCERTAIN, UNCERTAIN], within=1)
    sim.inject(CrashAt(1, effects))
    sim.run(1.0)
    assert not sim.alive(1)
    assert len(set(states(sim)[1:])) == 1
    assert states(sim)[1] in (COMMITTED, ABORTED)
    sim.inject(Restart(1))
    sim.run(1.0)
    assert len(set(states(sim))) == 1, "it asks the others what has become of it"


def test_crashes_that_come_back_break_nothing_either() -> None:
    result = explore(scenario("THREE_PHASES"), seeds=200)
    assert result.finding is None, str(result)


def test_no_crashes_at_any_times_break_or_block_it_while_messages_are_in_time() -> None:
    for seed in range(200):
        draw, sim = Random(f"crashes/{seed}"), simulation(seed=seed)
        for rank in draw.sample(range(4), draw.randrange(4)):
            sim.run(0.9 + draw.uniform(0.09, 0.13) - sim.now if sim.now < 1 else 0.02)
            sim.inject(Kill(rank) if draw.random() < 0.5 else CrashAt(rank, draw.randrange(5)))
        sim.run(3.0)
        alive = [state for p, state in zip(PARTICIPANTS, states(sim), strict=True) if sim.alive(p)]
        assert len(set(alive)) <= 1, f"seed {seed}: {alive}"
        assert not {UNCERTAIN, PRECOMMITTED} & set(alive), f"seed {seed}: blocked in {alive}"


# -- what breaks it


def part(protocol: Factory, ready: Any) -> Simulation:
    """When the coordinator is about to hear the last yes, a partition leaves rank 1 with it."""
    sim = simulation(protocol)
    sim.run_until(ready, within=3)
    sim.inject(Partition(((0, 1), (2, 3))))
    sim.run(5.0)
    return sim


def test_a_partition_commits_on_one_side_and_aborts_on_the_other() -> None:
    sim = Simulation(ThreePhaseCommit, 4, 1, clients=CLIENTS)
    sim.run_until(one_vote_missing, within=3)
    sim.inject(Partition(((0, 1), (2, 3))))
    sim.run(5.0)
    assert states(sim) == [COMMITTED, ABORTED, ABORTED]
    sim.inject(Heal())
    sim.run(5.0)
    assert states(sim) == [COMMITTED, ABORTED, ABORTED], "for ever"


STORY = """
   0.0056 s  rank 2 starts
   0.0074 s  rank 1 starts
   1.0313 s  rank 2 writes states = ((1, 'uncertain'),), ranks = ((1, (1, 2, 3)),) to its disk
   1.0336 s  rank 1 writes states = ((1, 'uncertain'),), ranks = ((1, (1, 2, 3)),) to its disk
   1.0460 s  fault: Partition(groups=((1, 3), (0, 2)))
   1.0633 s  rank 2 writes states = ((1, 'precommitted'),), ranks = ((1, (1, 2, 3)),) to its disk
   1.0947 s  rank 2 writes states = ((1, 'committed'),), ranks = ((1, (1, 2, 3)),) to its disk
   1.0947 s  rank 2 gets Decision(transaction=1, commit=True) from rank 0
   1.1546 s  rank 1 gets State(transaction=1, state='uncertain') from rank 3
Then P-S1 (no two participants end a transaction differently) breaks: rank 1 has aborted \
transaction 1, which rank 2 has committed"""


def test_the_explorer_finds_the_partition_and_tells_it_in_ten_lines() -> None:
    result = explore(scenario("THREE_PHASES_APART"), seeds=20)
    assert result.finding is not None
    assert result.finding.story.splitlines() == STORY.splitlines()[1:]
    assert len(result.finding.schedule.plan) == 1, "nothing but the partition, and no other loss"


def test_no_such_partition_breaks_two_phase_commit() -> None:
    result = explore(scenario("TWO_PHASES_APART"), seeds=200)
    assert result.finding is None, str(result)


def test_two_phase_commit_waits_in_the_same_partition() -> None:
    def ready(sim: Simulation) -> bool:
        return sim.alive(0) and [len(s) for s in sim.node(0).silent.values()] == [1]

    sim = part(two_phase_commit, ready)
    assert [bool(sim.on_disk(p).get("ended")) for p in PARTICIPANTS] == [True, False, False]
    sim.inject(Heal())
    sim.run(10.0)
    assert {dict(sim.on_disk(p)["ended"])[1_000_001] for p in PARTICIPANTS} == {True}


def test_a_late_message_is_enough_to_break_it() -> None:
    """No crash, no loss: only time-outs that run out before the messages come."""
    found = exhaustive(ThreePhaseCommit, 3, [(1000, 0, Begin((1, 2)))], agreement)
    assert "applied" in found.violation
    print(found)
    timers = [step for step in found.steps if "timer" in step]
    assert timers, "without a time-out it holds"
    assert len(found.steps) <= 10


# -- the termination protocol, rule by rule


def leading(state: str, *answers: str) -> tuple[ThreePhaseCommit, list[Any]]:
    """A participant in this state leads, and two others give it these answers."""
    stored = {"states": ((1, UNCERTAIN),), "ranks": ((1, PARTICIPANTS),)}
    node = ThreePhaseCommit(1, (0, *PARTICIPANTS), Context(), stored)
    node.recovering, node.states = set(), {1: state}
    assert Broadcast((2, 3), StateRequest(1)) in fire(node, "silence", 1)
    for fellow, answer in zip((2, 3), answers, strict=False):
        deliver(node, fellow, State(1, answer))
    return node, fire(node, "states_due", 1)


@pytest.mark.parametrize(
    ("state", "answers", "commit"),
    [
        (UNCERTAIN, (UNCERTAIN, ABORTED), False),  # TR1
        (PRECOMMITTED, (UNCERTAIN, COMMITTED), True),  # TR2
        (UNCERTAIN, (UNCERTAIN, UNCERTAIN), False),  # TR3
        (UNCERTAIN, (UNCERTAIN,), False),
        (UNCERTAIN, (), False),
    ],
)
def test_what_can_be_decided_at_once(state: str, answers: tuple[str, ...], commit: bool) -> None:
    assert leading(state, *answers)[1][-1] == Broadcast(PARTICIPANTS, Decision(1, commit))


@pytest.mark.parametrize("state", [UNCERTAIN, PRECOMMITTED])
def test_before_a_commit_nobody_may_be_uncertain(state: str) -> None:
    """TR4: some are precommitted, nobody has committed."""
    node, effects = leading(state, UNCERTAIN, PRECOMMITTED)
    assert Broadcast((2,), PreCommit(1)) in effects
    assert not any(isinstance(e, Broadcast) and e.message == Decision(1, True) for e in effects)
    effects = deliver(node, 2, PreCommitted(1))
    assert effects[-1] == Broadcast(PARTICIPANTS, Decision(1, True))


def test_who_has_not_voted_counts_as_aborted_and_never_votes_yes() -> None:
    node = ThreePhaseCommit(1, (0, *PARTICIPANTS), Context(), {})
    assert deliver(node, 2, StateRequest(1))[-1] == Send(2, State(1, ABORTED))
    assert deliver(node, 0, Prepare(1, None, PARTICIPANTS)) == []


def test_a_yes_and_a_precommit_are_durable_before_they_are_sent() -> None:
    node = ThreePhaseCommit(1, (0, *PARTICIPANTS), Context(), {})
    ranks = ((1, PARTICIPANTS),)
    effects = deliver(node, 0, Prepare(1, None, PARTICIPANTS))
    assert effects[0] == Persist(states=((1, UNCERTAIN),), ranks=ranks)
    assert effects[-1] == Send(0, Voted(1, True))
    effects = deliver(node, 0, PreCommit(1))
    assert effects[0] == Persist(states=((1, PRECOMMITTED),), ranks=ranks)
    assert effects[-1] == Send(0, PreCommitted(1))


def test_who_was_dead_takes_no_part_in_the_termination() -> None:
    stored = {"states": ((1, UNCERTAIN),), "ranks": ((1, PARTICIPANTS),)}
    node = ThreePhaseCommit(1, (0, *PARTICIPANTS), Context(), stored)
    assert deliver(node, 2, StateRequest(1)) == deliver(node, 2, PreCommit(1)) == []
