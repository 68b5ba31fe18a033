"""Every bug on the list is found by the invariant that is named for it, and only a bug is found."""

from __future__ import annotations

import pytest

from labkit.simulator.mutants import Mutant, applied
from labkit.simulator.mutants.commit import COMMIT, MORE_COMMIT
from labkit.simulator.mutants.detectors import DETECTORS
from labkit.simulator.mutants.raft import RAFT
from labkit.simulator.mutants.replication import REPLICATION
from labkit.simulator.mutants.views import VIEWS
from labkit.simulator.scenario import play
from labkit.simulator.scenarios import scenario
from labkit.simulator.shrink import violation

ALL = [*RAFT, *COMMIT, *MORE_COMMIT, *REPLICATION, *DETECTORS, *VIEWS]


def test_the_lists_are_whole() -> None:
    assert [mutant.id for mutant in RAFT] == [f"m{n:02}" for n in range(1, 56, 2)]
    assert [mutant.id for mutant in COMMIT] == [f"p{n:02}" for n in range(1, 20, 2)]
    assert [mutant.id for mutant in DETECTORS] == [f"d{n:02}" for n in range(1, 22, 2)]


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.id)
def test_a_mutant_is_killed_by_its_invariant_alone(mutant: Mutant) -> None:
    whole = scenario(mutant.scenario)
    # None for liveness; and who plays the hosts, where there are any.
    killer = tuple(i for i in whole.invariants if i.name in ("hosts", mutant.killer))
    with applied(mutant):
        found = violation(whole._replace(invariants=killer), whole.draw(mutant.seed))
    assert found is not None
    assert found.name == mutant.killer


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.id)
def test_the_unmutated_code_is_blamed_for_nothing_on_the_same_seed(mutant: Mutant) -> None:
    play(scenario(mutant.scenario), scenario(mutant.scenario).draw(mutant.seed))
