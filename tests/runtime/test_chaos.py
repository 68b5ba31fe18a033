"""Everything at once: whatever happens to the processes and links of an elastic run, training ends
with the weights of the run without faults, and the model allows all that the nodes did.

`make test-long SEED=1000` draws other plans: those from that number on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from traced import allowed, traced  # noqa: F401 - a fixture

from labkit import Cluster, FaultPlan
from labkit.chaos import KINDS, POINTS, random_plan
from labkit.checkpoint import Store
from labkit.checkpoint.policy import EverySeconds
from labkit.training.loop import train

STEPS = 100
SECONDS = 2.0
SILENCE = 1.0
"""Seconds; a machine on which other tests run keeps ranks waiting for half of that."""
pytestmark = pytest.mark.usefixtures("traced")
FIRST = int(os.environ.get("LABKIT_CHAOS_SEED") or 0)
SHORT, LONG = range(10), range(10, 100)
OF_PARTS = (*POINTS, "zero.catch_up", "zero.all_gather", "replica.saved")


def seeds(short: range, long: range) -> list[Any]:
    later = [pytest.param(FIRST + seed, marks=pytest.mark.long) for seed in long]
    return [*(FIRST + seed for seed in short), *later]


@pytest.fixture(scope="module")
def undisturbed() -> str:
    with Cluster(1, record=False) as one:
        return str(one.run(train, steps=STEPS, algorithm="in_order").wait().results[0]["hash"])


def ends_with(weights: str, plan: FaultPlan, **how: Any) -> None:
    job: dict[str, Any] = {"steps": STEPS, "algorithm": "in_order", **how}
    with Cluster(4, silence=SILENCE, max_restarts=30) as cluster:
        run = cluster.run(train, elastic=True, faults=plan, **job).wait(timeout=120)

    model = allowed(cluster, SILENCE)
    assert model.lives >= 9  # of four ranks, their savers, and the witness
    left = set(range(4)) - set(run.results)
    assert {result["hash"] for result in run.results.values()} == {weights}
    assert all(run.errors[rank].kind == "RunOver" for rank in left), (plan, run.errors)


@pytest.mark.parametrize("seed", seeds(SHORT, LONG))
def test_the_weights_are_those_of_the_run_without_faults(seed: int, undisturbed: str) -> None:
    ends_with(undisturbed, random_plan(seed, 4, SECONDS))


@pytest.mark.parametrize("seed", seeds(range(3), range(3, 40)))
def test_with_parts_of_the_optimizers_state_on_each_rank(seed: int, undisturbed: str) -> None:
    """Those of the dead come from their neighbours; where two of them die at once nobody has them,
    and training begins again."""
    plan = random_plan(1000 + seed, 4, SECONDS, points=OF_PARTS)
    ends_with(undisturbed, plan, zero=True)


@pytest.mark.parametrize("seed", seeds(range(2), range(2, 30)))
def test_with_checkpoints_by_the_clock(seed: int, undisturbed: str, tmp_path: Path) -> None:
    """Of ranks that stand still, are slow, die and come back, each with a clock of its own."""
    plan = random_plan(2000 + seed, 4, SECONDS)
    ends_with(undisturbed, plan, checkpoints=tmp_path, every=EverySeconds(0.3))

    store = Store(tmp_path)
    made = store.manifests()
    assert made
    loaded = store.load(0, made[-1].world_size)
    assert loaded is not None
    assert (loaded.remarks, loaded.manifest) == ([], made[-1])


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
