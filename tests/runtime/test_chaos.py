"""Everything at once: whatever happens to the processes and links of an elastic run, training ends
with the weights of the run without faults."""

from __future__ import annotations

from typing import Any

import pytest

from labkit import Cluster
from labkit.chaos import KINDS, random_plan
from labkit.training.loop import train

STEPS = 100
SECONDS = 2.0
SILENCE = 1.0
"""Seconds; a machine on which other tests run keeps ranks waiting for half of that."""
SHORT, LONG = range(10), range(10, 100)


@pytest.fixture(scope="module")
def undisturbed() -> str:
    with Cluster(1, record=False) as one:
        return str(one.run(train, steps=STEPS, algorithm="in_order").wait().results[0]["hash"])


@pytest.mark.parametrize(
    "seed", [*SHORT, *(pytest.param(seed, marks=pytest.mark.long) for seed in LONG)]
)
def test_the_weights_are_those_of_the_run_without_faults(seed: int, undisturbed: str) -> None:
    job: dict[str, Any] = {"steps": STEPS, "algorithm": "in_order"}
    with Cluster(4, silence=SILENCE, max_restarts=30) as cluster:
        plan = random_plan(seed, 4, SECONDS)
        run = cluster.run(train, elastic=True, faults=plan, **job).wait(timeout=120)

    left = set(range(4)) - set(run.results)
    assert {result["hash"] for result in run.results.values()} == {undisturbed}
    assert all(run.errors[rank].kind == "RunOver" for rank in left), (plan, run.errors)


def test_a_seed_gives_one_plan_and_all_kinds_are_drawn() -> None:
    plans = [random_plan(seed, 4, SECONDS) for seed in range(40)]

    again = random_plan(7, 4, SECONDS)
    words = " ".join(str(entry.fault) for plan in plans for entry in plan.entries)

    assert again.entries == plans[7].entries
    for name in ("Kill(rank=4)", "Pause", "Slow", "Delay", "Drop", "Cut", "Partition", "Heal"):
        assert name in words
    assert any(entry.point for plan in plans for entry in plan.entries)
    assert len(KINDS) == 8


def test_a_kind_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="no kind of fault 'meteor'"):
        random_plan(0, 4, 1.0, kinds=["meteor"])
