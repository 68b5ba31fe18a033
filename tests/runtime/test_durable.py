"""Training that goes on from checkpoints which its ranks have committed together. The numbers are
those of the fault cases."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from labkit import At, Cluster, FaultPlan, Kill
from labkit.checkpoint.policy import EverySeconds
from labkit.training.loop import train

JOB: dict[str, Any] = {"steps": 60, "algorithm": "in_order"}
EVERY = 10
ALL_DIE = FaultPlan(*(At(Kill(rank), step=35) for rank in range(4)))


@pytest.fixture(scope="module")
def undisturbed() -> str:
    with Cluster(1, record=False) as one:
        return str(one.run(train, **JOB).wait().results[0]["hash"])


def hashes(run: Any) -> dict[int, str]:
    return {rank: result["hash"] for rank, result in run.results.items()}


def first_step(run: Any) -> int:
    return min(e.data["step"] for e in run.events if e.kind == "step")


def test_all_die_and_another_number_of_ranks_goes_on(tmp_path: Path, undisturbed: str) -> None:
    """6, 41, 42."""
    with Cluster(4) as four:
        run = four.run(train, checkpoints=tmp_path, every=EVERY, faults=ALL_DIE, **JOB).wait()
    assert sorted(run.deaths) == [0, 1, 2, 3]

    with Cluster(3) as three:
        run = three.run(train, checkpoints=tmp_path, every=EVERY, **JOB).wait()

    assert first_step(run) in (21, 31)  # the last may have been under way
    assert hashes(run) == dict.fromkeys(range(3), undisturbed)


def test_all_die_and_the_launcher_starts_them_anew(tmp_path: Path, undisturbed: str) -> None:
    """6, in one run."""
    with Cluster(4, max_restarts=4) as cluster:
        how: dict[str, Any] = {"elastic": True, "faults": ALL_DIE, **JOB}
        run = cluster.run(train, checkpoints=tmp_path, every=EVERY, **how).wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed)
    assert any(e.name.startswith("goes on from") for e in run.events if e.kind == "note")
    assert len([e for e in run.events if e.name.startswith("the launcher starts")]) == 4


def test_a_rank_dies_and_comes_back_and_the_checkpoints_go_on(
    tmp_path: Path, undisturbed: str
) -> None:
    """30, 34: whatever was under way is finished or given up, and later ones have all four."""
    with Cluster(4, max_restarts=1) as cluster:
        plan = FaultPlan(At(Kill(2), step=25))
        how: dict[str, Any] = {"elastic": True, "faults": plan, **JOB}
        run = cluster.run(train, checkpoints=tmp_path, every=EVERY, **how).wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed)
    last = sorted(path.name for path in tmp_path.glob("*.step-60.*"))
    assert len(last) == 1 + 4, last


class Wanted:
    """A rule of one rank's own: after step `at`, or never."""

    urgent = False

    def __init__(self, at: int | None) -> None:
        self.at = at

    def wants(self, now: Any) -> bool:
        return bool(now.step == self.at)

    def saved(self, when: Any, stall: float, duration: float) -> None:
        pass


def test_what_one_ranks_clock_wants_all_ranks_write(tmp_path: Path, undisturbed: str) -> None:
    """Their clocks differ, and a checkpoint is one only if all have a part of it."""

    def job(worker: Any) -> dict[str, Any]:
        rule = Wanted({1: 17, 3: 43}.get(worker.rank))
        return train(worker, checkpoints=tmp_path, every=rule, **JOB)

    with Cluster(4) as cluster:
        run = cluster.run(job).wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed)
    made = sorted(path.name for path in tmp_path.glob("*.manifest"))
    assert [name.split(".")[1] for name in made] == ["step-17", "step-43"]
    assert len(list(tmp_path.glob("*.step-43.rank-*-of-4.safetensors"))) == 4


def test_every_so_many_seconds(tmp_path: Path, undisturbed: str) -> None:
    """By the first clock that says so; two at least, whatever the machine does meanwhile."""

    def job(worker: Any) -> dict[str, Any]:
        import time

        step = worker.step

        def reached(number: int) -> None:
            step(number)
            if number in (20, 40):
                time.sleep(0.5)  # as long as the interval

        worker.step = reached
        return train(worker, checkpoints=tmp_path, every=EverySeconds(0.5), **JOB)

    with Cluster(2) as cluster:
        run = cluster.run(job).wait()

    assert hashes(run) == dict.fromkeys(range(2), undisturbed)
    steps = {e.data["step"] for e in run.events if e.kind == "checkpoint"}
    assert len(steps) >= 2
    assert not [e for e in run.events if e.name.startswith("no checkpoint")]


def test_a_folder_that_vanishes_costs_checkpoints_and_no_steps(
    tmp_path: Path, undisturbed: str
) -> None:
    """32: all vote no."""
    folder = tmp_path / "checkpoints"

    def lose_the_folder(worker: Any) -> dict[str, Any]:
        step = worker.step

        def reached(number: int) -> None:
            step(number)
            if number == 25 and worker.rank == 0:
                shutil.rmtree(folder)
                folder.touch()

        worker.step = reached
        return train(worker, checkpoints=folder, every=EVERY, **JOB)

    with Cluster(2) as cluster:
        run = cluster.run(lose_the_folder).wait()

    assert hashes(run) == dict.fromkeys(range(2), undisturbed)
    assert any(e.name.startswith("no checkpoint: ") for e in run.events if e.kind == "note")
