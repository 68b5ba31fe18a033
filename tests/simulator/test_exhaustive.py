"""The search, on a model whose states have been counted before, and the lab's two-phase commit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from labkit.protocols.two_phase_commit import Begin, two_phase_commit
from labkit.simulator.exhaustive import agreement, exhaustive, search
from labkit.simulator.mutants import Mutant, applied
from labkit.simulator.mutants.commit import COMMIT

sys.path.insert(0, str(Path(__file__).parents[1]))
from oracles import two_phase

BEGIN = [(1000, 0, Begin())]


@pytest.mark.parametrize(("managers", "states"), [(3, 288), (6, 50_816)])
def test_lamports_two_phase_has_as_many_states_as_published(managers: int, states: int) -> None:
    found = search(two_phase.initial(managers), two_phase.successors, two_phase.inconsistent)
    assert found.states == states
    assert not found.violation


def test_a_broken_model_is_found_out_by_the_shortest_way() -> None:
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


@pytest.mark.parametrize(
    ("nodes", "crashes", "states"),
    [(2, 2, 814), (3, 0, 5_211), pytest.param(3, 1, 42_545, marks=pytest.mark.long)],
)
def test_two_phase_commit_agrees_in_every_order(nodes: int, crashes: int, states: int) -> None:
    """The numbers are what they are: another one means that the protocol does something else."""
    found = exhaustive(two_phase_commit, nodes, BEGIN, agreement, crashes)
    print(f"two-phase commit, {nodes - 1} participants, {crashes} crashes: {found}")
    assert not found.violation
    assert found.states == states


@pytest.mark.parametrize("id", ["p01", "p05", "p11"])
def test_the_search_finds_what_the_swarm_finds(id: str) -> None:
    mutant: Mutant = next(m for m in COMMIT if m.id == id)
    with applied(mutant):
        found = exhaustive(two_phase_commit, 3, BEGIN, agreement, crashes=1, limit=200_000)
    assert "applied" in found.violation, found
