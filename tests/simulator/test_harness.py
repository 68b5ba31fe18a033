"""The simulator's own bugs are found as well: by its self-check of determinism, by its tests, or
because a mutant lives that it must kill."""

from __future__ import annotations

import pytest
import test_simulation

from labkit.simulator.determinism import first_difference
from labkit.simulator.mutants import Mutant, applied
from labkit.simulator.mutants.harness import HARNESS
from labkit.simulator.mutants.raft import RAFT
from labkit.simulator.scenarios import scenario
from labkit.simulator.shrink import violation

BY_TESTS = [mutant for mutant in HARNESS if mutant.killer.startswith("test_")]
BY_MUTANTS = [mutant for mutant in HARNESS if mutant.killer.startswith("m")]


def test_the_list_is_whole() -> None:
    assert [mutant.id for mutant in HARNESS] == [f"h{n:02}" for n in range(1, 7)]
    assert len(BY_TESTS) + len(BY_MUTANTS) == len(HARNESS) - 1


@pytest.mark.parametrize("name", ["RAFT", "RAFT_CHANGES"])
def test_a_seed_is_the_same_run_in_processes_that_hash_differently(name: str) -> None:
    assert first_difference(name, seed=5) is None


def test_the_self_check_names_the_first_difference() -> None:
    mutate = """
from labkit.simulator.mutants import applied
from labkit.simulator.mutants.harness import HARNESS
mutated = applied(HARNESS[0])
mutated.__enter__()
"""

    found = first_difference("RAFT", seed=5, before=mutate)

    assert found is not None
    assert "seed 5 of RAFT is not one run: after " in found
    assert "AppendEntries" in found
    assert "the order of a set" in found


@pytest.mark.parametrize("mutant", BY_TESTS, ids=lambda mutant: mutant.id)
def test_a_test_of_the_simulator_notices(mutant: Mutant) -> None:
    test = getattr(test_simulation, mutant.killer)
    test()

    with applied(mutant), pytest.raises((AssertionError, LookupError)):
        test()


@pytest.mark.parametrize("mutant", BY_MUTANTS, ids=lambda mutant: mutant.id)
def test_a_mutant_of_raft_lives_in_a_blind_harness(mutant: Mutant) -> None:
    bug = next(bug for bug in RAFT if bug.id == mutant.killer)
    whole = scenario(bug.scenario)
    whole = whole._replace(invariants=tuple(i for i in whole.invariants if i.name == bug.killer))

    with applied(bug):
        seen = violation(whole, whole.draw(bug.seed))
        with applied(mutant):
            unseen = violation(whole, whole.draw(bug.seed))

    assert seen is not None
    assert unseen is None
