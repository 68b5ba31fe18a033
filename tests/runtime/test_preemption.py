"""A preemption notice (SIGTERM) in the middle of training. Case 7."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from labkit import At, Cluster, FaultPlan, Preempt
from labkit.training import data
from labkit.training.data import Data
from labkit.training.loop import train

LITTLE = Data(data.digits().train.rows(slice(200)), data.digits().test.rows(slice(50)))
training = partial(train, data=LITTLE, batch=40, algorithm="in_order")


def notes(run: Any) -> list[str]:
    return [e.name for e in run.events if e.kind == "note"]


def gone(cluster: Cluster, rank: int) -> Any:
    """How it ended; waits for it."""
    driver = cluster._driver
    with driver.changed:
        assert driver.changed.wait_for(lambda: driver.seats[rank].died, 20)
    return driver.seats[rank].died


@pytest.mark.case(7)
def test_a_preempted_rank_completes_its_step_and_the_others_go_on(cluster: Cluster) -> None:
    undisturbed = cluster.run(training, steps=16).wait(timeout=60).results[0]["hash"]
    plan = FaultPlan(At(Preempt(2, grace=20.0), step=5))
    run = cluster.run(training, steps=16, faults=plan).wait(timeout=60)
    assert gone(cluster, 2).code == 0
    assert not run.errors
    assert "accuracy" not in run.results[2]
    assert 5 < run.results[2]["steps"] < 16
    assert {run.results[rank]["hash"] for rank in (0, 1, 3)} == {undisturbed}
    # It said farewell: nobody broke off a step, and nothing was done twice.
    done = [(e.rank, e.data["step"]) for e in run.events if e.kind == "step"]
    assert len(done) == len(set(done)) == 3 * 16 + run.results[2]["steps"]


@pytest.mark.case(7)
def test_when_all_are_preempted_the_last_step_is_on_disk(cluster: Cluster, tmp_path: Path) -> None:
    undisturbed = cluster.run(training, steps=12).wait(timeout=60).results[0]["hash"]
    lasting = partial(training, steps=12, checkpoints=str(tmp_path / "saved"), every=100)
    plan = FaultPlan(*(At(Preempt(rank, grace=20.0), step=5) for rank in range(4)))
    run = cluster.run(lasting, faults=plan).wait(timeout=60)
    assert [gone(cluster, rank).code for rank in range(4)] == [0] * 4
    last = max(result["steps"] for result in run.results.values())
    assert 5 < last < 12
    cluster.restart(0, 1, 2, 3)
    again = cluster.run(lasting).wait(timeout=60)
    assert any(note.endswith(f"step {last}") for note in notes(again))
    assert {result["hash"] for result in again.results.values()} == {undisturbed}
