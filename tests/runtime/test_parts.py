"""ZeRO-1 on real ranks: they are killed, and their parts of the optimizer's state found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from patient import patiently

from labkit import At, Cluster, FaultPlan, Kill, PoisonGradient, Preempt
from labkit.runtime.run import Run
from labkit.training.loop import train
from labkit.training.numerics import Guard

PLAIN: dict[str, Any] = {"steps": 40, "algorithm": "in_order"}
JOB: dict[str, Any] = {**PLAIN, "zero": True}
LOST = "a part of the optimizer's state is in no rank's memory"
TWO_NEIGHBOURS = FaultPlan(At(Kill(2), step=25, on=1), At(Kill(1), step=25))
"""The first is dead when the second dies: no group is formed between."""


@pytest.fixture(scope="module")
def undisturbed() -> str:
    """Of plain training on one rank."""
    with Cluster(1, record=False) as one:
        return str(one.run(train, **PLAIN).wait().results[0]["hash"])


def hashes(run: Run) -> dict[int, str]:
    return {rank: result["hash"] for rank, result in run.results.items()}


def notes(run: Run) -> list[str]:
    return [e.name for e in run.events if e.kind == "note"]


def steps(run: Run, rank: int = 0) -> list[int]:
    return [e.data["step"] for e in run.events if e.kind == "step" and e.rank == rank]


def test_one_dies_and_its_part_comes_from_its_neighbours_memory(undisturbed: str) -> None:
    with Cluster(4) as cluster:
        run = cluster.run(train, elastic=True, faults=FaultPlan(At(Kill(2), step=20)), **JOB).wait()
    assert hashes(run) == dict.fromkeys((0, 1, 3), undisturbed)
    assert LOST not in notes(run)
    assert len(steps(run)) - len(set(steps(run))) <= 1


def test_it_comes_back_and_all_cut_their_parts_anew(undisturbed: str) -> None:
    with Cluster(4, max_restarts=1) as cluster:
        plan = FaultPlan(At(Kill(2), step=10))
        run = cluster.run(patiently, elastic=True, faults=plan, **JOB).wait()
    assert hashes(run) == dict.fromkeys(range(4), undisturbed)
    forming = [e for e in run.events if e.kind == "begin" and e.name == "forming group"]
    assert [list(e.data["members"]) for e in forming if e.rank == 0][-1] == [0, 1, 2, 3]
    assert LOST not in notes(run)


def test_two_neighbours_die_at_once_and_the_checkpoint_has_their_parts(
    tmp_path: Path, undisturbed: str
) -> None:
    """Then others read it: fewer ranks, without ZeRO."""
    with Cluster(4) as cluster:
        how: dict[str, Any] = {"checkpoints": tmp_path, "every": 10, **JOB}
        run = cluster.run(train, elastic=True, faults=TWO_NEIGHBOURS, **how).wait()
        assert hashes(run) == dict.fromkeys((0, 3), undisturbed)
        assert LOST in notes(run)
        again = [b for a, b in zip(steps(run), steps(run)[1:], strict=False) if b <= a]
        assert again in ([21], [11])  # the last checkpoint may have been under way

        longer = {"checkpoints": tmp_path, "steps": 50, "algorithm": "in_order"}
        with Cluster(1, record=False) as one:
            expected = one.run(train, steps=50, algorithm="in_order").wait().results[0]["hash"]
        without = cluster.run(train, **longer).wait()
    assert set(hashes(without).values()) == {expected}
    assert steps(without)[0] == 41


def test_without_a_checkpoint_they_begin_again(undisturbed: str) -> None:
    with Cluster(4) as cluster:
        run = cluster.run(train, elastic=True, faults=TWO_NEIGHBOURS, **JOB).wait()
    assert hashes(run) == dict.fromkeys((0, 3), undisturbed)
    assert "there is no checkpoint: begins again at step 0" in notes(run)


def test_behind_the_last_step_the_weights_are_all_that_counts(undisturbed: str) -> None:
    plan = FaultPlan(At(Kill(2), point="evaluate", on=1), At(Kill(1), point="evaluate"))
    with Cluster(4) as cluster:
        run = cluster.run(train, elastic=True, faults=plan, **JOB).wait()
    assert hashes(run) == dict.fromkeys((0, 3), undisturbed)
    assert LOST not in notes(run)
    assert steps(run) in (list(range(1, 41)), list(range(1, 40)))  # it may get the last one sent


def test_two_neighbours_who_are_told_to_leave_take_nothing_with_them(undisturbed: str) -> None:
    plan = FaultPlan(At(Preempt(2), step=10, on=1), At(Preempt(1), step=10))
    with Cluster(4) as cluster:
        run = cluster.run(train, faults=plan, **JOB).wait()
    assert {rank: hashes(run)[rank] for rank in (0, 3)} == dict.fromkeys((0, 3), undisturbed)
    assert LOST not in notes(run)
    assert steps(run) == list(range(1, 41))


def test_who_rolls_back_takes_its_part_back_as_well() -> None:
    def job(zero: bool) -> dict[str, Any]:
        plan = FaultPlan(At(PoisonGradient(1), step=4))
        guard = Guard("roll back", every=3)
        return {"steps": 8, "algorithm": "in_order", "guard": guard, "faults": plan, "zero": zero}

    with Cluster(2) as cluster:
        with_parts, without = (cluster.run(train, **job(zero)).wait() for zero in (True, False))
    assert any("roll back" in note for note in notes(with_parts))
    assert hashes(with_parts) == hashes(without)
