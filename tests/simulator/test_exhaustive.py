"""The search, on models whose states have been counted before, and on the lab's own protocols."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.protocols.raft.election import LEADER, Election
from labkit.protocols.two_phase_commit import Begin, two_phase_commit
from labkit.simulator.exhaustive import View, agreement, exhaustive
from labkit.simulator.invariants.commit import allowed, rm_state, word
from labkit.simulator.mutants import Mutant, applied
from labkit.simulator.mutants.commit import COMMIT, MORE_COMMIT
from labkit.simulator.mutants.raft import RAFT
from labkit.simulator.search import search

sys.path.insert(0, str(Path(__file__).parents[1]))
from oracles import backup_manager, transaction_commit, two_phase

# -- models of others


@pytest.mark.parametrize(
    ("managers", "states", "generated", "depth"), [(3, 288, 1_146, 11), (6, 50_816, None, None)]
)
def test_lamports_two_phase_has_as_many_states_as_published(
    managers: int, states: int, generated: int | None, depth: int | None
) -> None:
    found = search(two_phase.initial(managers), two_phase.successors, two_phase.inconsistent)
    assert not found.violation
    assert found.states == states
    assert generated in (None, found.generated)
    assert depth in (None, found.depth)


def test_so_has_transaction_commit_itself() -> None:
    found = search(transaction_commit.initial(3), transaction_commit.successors)
    assert (found.states, found.generated, found.depth) == (34, 94, 7)


def test_so_has_the_one_with_a_backup_manager() -> None:
    guarded = backup_manager.successors()
    found = search(backup_manager.INITIAL, guarded, backup_manager.inconsistent)
    assert not found.violation
    assert (found.states, found.depth) == (1_245, 15)


def test_without_its_guard_the_backup_aborts_what_is_committed_after_eleven_steps() -> None:
    careless = backup_manager.successors(guard=False)
    found = search(backup_manager.INITIAL, careless, backup_manager.inconsistent)
    assert "one has committed, another has aborted" in found.violation
    assert len(found.steps) == 11
    assert {"BTS: it can abort", "BTA"} < set(found.steps)


def test_two_phase_refines_transaction_commit() -> None:
    """Gray and Lamport's theorem, step by step: so the judge of steps is right, too (P-S9)."""

    def forbidden(before: two_phase.State, after: two_phase.State) -> str:
        fine = allowed(dict(enumerate(before.rm)), dict(enumerate(after.rm)))
        return "" if fine else f"{before.rm}, then {after.rm}"

    found = search(two_phase.initial(4), two_phase.successors, forbidden=forbidden)
    assert not found.violation


def test_the_judge_of_steps_allows_what_transaction_commit_does_and_nothing_else() -> None:
    words = ("working", "prepared", "committed", "aborted")
    for before, after in itertools.product(itertools.product(words, repeat=3), repeat=2):
        steps = {new for _, new in transaction_commit.successors(before)} | {before}
        assert allowed(dict(enumerate(before)), dict(enumerate(after))) == (after in steps)


# -- the search


def test_a_violation_is_told_by_the_shortest_way() -> None:
    def successors(s: two_phase.State):  # type: ignore[no-untyped-def]
        yield from two_phase.successors(s)
        for r, state in enumerate(s.rm):
            if state == "prepared":  # p01: it aborts alone
                yield f"RMAbortsAlone({r})", s._replace(rm=two_phase.put(s.rm, r, "aborted"))

    found = search(two_phase.initial(2), successors, two_phase.inconsistent)
    assert found.violation
    assert len(found.steps) == 7  # two prepare, two are heard of, commit, one hears, one aborts
    assert found.steps[-1].startswith(("RMAbortsAlone", "RMRcvCommitMsg"))


def test_a_search_that_is_too_large_says_so() -> None:
    with pytest.raises(RuntimeError, match="more than 100 states"):
        search(two_phase.initial(3), two_phase.successors, two_phase.inconsistent, limit=100)


def test_a_search_can_end_at_a_depth_and_says_that_too() -> None:
    seen: list[int] = []
    found = search(0, lambda n: [("one more", n + 1)], depth=5, progress=seen.append)
    assert (found.states, found.depth, found.complete) == (5, 5, False)
    assert "were not looked at" in str(found)
    assert seen == [2, 3, 4, 5]


# -- the lab's two-phase commit


def begin(nodes: int) -> list[tuple[int, int, Begin]]:
    return [(1000, 0, Begin(tuple(range(1, nodes))))]


@pytest.mark.parametrize(
    ("nodes", "crashes", "states"),
    [(2, 0, 25), (2, 2, 577), (3, 0, 475), (3, 1, 3_933), (3, 2, 16_361), (4, 0, 29_881)],
)
def test_two_phase_commit_agrees_in_every_order(nodes: int, crashes: int, states: int) -> None:
    """The numbers are what they are: another one means that the protocol does something else."""
    found = exhaustive(two_phase_commit, nodes, begin(nodes), agreement, crashes=crashes)
    print(f"two-phase commit, {nodes - 1} participants, {crashes} crashes: {found}")
    assert not found.violation
    assert found.complete
    assert found.states == states


def no_step_of_transaction_commit(before: View, after: View) -> str:
    """For each transaction that there has been."""

    def states(view: View, transaction: int) -> dict[int, str]:
        found = {}
        for i, node in enumerate(view.nodes[1:], 1):
            ends = dict(node.applied)
            known = rm_state(node.disk, transaction)
            found[i] = word(ends[transaction]) if transaction in ends else known
        return found

    fences = [m.transaction for _, _, m in after.messages if hasattr(m, "transaction")]
    for transaction in sorted(set(fences)):
        was, now = states(before, transaction), states(after, transaction)
        if not allowed(was, now):
            return f"transaction {transaction}: {was}, then {now}"
    return ""


def test_every_step_of_it_is_one_of_transaction_commit() -> None:
    """P-S9, with a crash between any two effects."""
    found = exhaustive(
        two_phase_commit, 3, begin(3), forbidden=no_step_of_transaction_commit, crashes=1
    )
    assert not found.violation, found
    assert found.states == 3_933


@pytest.mark.parametrize(
    ("nodes", "depth", "states"),
    [(2, None, 1_379), pytest.param(3, 12, 21_789, marks=pytest.mark.long)],
)
def test_two_transactions_at_once_agree(nodes: int, depth: int | None, states: int) -> None:
    twice = [(client, 0, m) for client in (1000, 1001) for _, _, m in begin(nodes)]
    forbidden = no_step_of_transaction_commit
    found = exhaustive(two_phase_commit, nodes, twice, agreement, forbidden, depth=depth)
    assert not found.violation, found
    assert found.states == states


def mutant(id: str) -> Mutant:
    return next(m for m in [*COMMIT, *MORE_COMMIT, *RAFT] if m.id == id)


@pytest.mark.parametrize(
    ("id", "steps"), [("p01", 7), ("p03", 10), ("p05", 7), ("p09", 8), ("p11", 9), ("p33", 9)]
)
def test_it_finds_the_mutants_too_and_by_the_shortest_way(id: str, steps: int) -> None:
    with applied(mutant(id)):
        found = exhaustive(two_phase_commit, 3, begin(3), agreement, crashes=1)
    assert "applied" in found.violation, found
    assert len(found.steps) == steps, found


# -- another protocol: an election, as deep as there is time


def one_leader(view: View) -> str:
    """§5.2, at any one time."""
    leaders: dict[int, int] = {}
    for i, node in enumerate(view.nodes):
        if node.memory and node.memory["role"] == LEADER:
            other = leaders.setdefault(node.memory["term"], i)
            if other != i:
                return f"ranks {other} and {i} both lead term {node.memory['term']}"
    return ""


@pytest.mark.parametrize(("crashes", "depth"), [(1, 6), (0, 8)])
def test_an_election_has_one_leader_in_a_term(crashes: int, depth: int) -> None:
    found = exhaustive(Election, 3, [], one_leader, crashes=crashes, depth=depth)
    assert not found.violation, found
    assert not found.complete, "there is always another term"


@pytest.mark.long
def test_a_vote_that_is_not_durable_gives_a_term_two_leaders_after_eight_steps() -> None:
    with applied(mutant("m01")):
        found = exhaustive(Election, 3, [], one_leader, crashes=1)
    assert "both lead term 1" in found.violation
    assert len(found.steps) == 8


def test_it_is_the_same_search_in_every_process() -> None:
    code = """
from labkit.protocols.two_phase_commit import Begin, two_phase_commit
from labkit.simulator.exhaustive import agreement, exhaustive
from labkit.simulator.mutants import applied
from labkit.simulator.mutants.commit import COMMIT
with applied(COMMIT[0]):
    print(exhaustive(two_phase_commit, 4, [(1000, 0, Begin((1, 2, 3)))], agreement, crashes=1))
"""
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert "and so: rank" in runs[0]
