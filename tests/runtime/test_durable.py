"""Training that goes on from checkpoints which its ranks have committed together. The numbers are
those of the fault cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from outside import wait_until

from labkit import At, Cluster, FaultPlan, Kill, Pause, PoisonGradient, RunError, Slow, events
from labkit.checkpoint import Keep, Locked, Store, fingerprint
from labkit.checkpoint.lock import Lock
from labkit.checkpoint.policy import EverySeconds, OnImprovement, YoungDaly
from labkit.checkpoint.tiers import Bucket, fetch
from labkit.training import data, models
from labkit.training.data import Data, Dataset
from labkit.training.loop import train
from labkit.training.numerics import Guard

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


@pytest.mark.case(6, 41, 42)
def test_all_die_and_another_number_of_ranks_goes_on(tmp_path: Path, undisturbed: str) -> None:
    """6, 41, 42."""
    with Cluster(4) as four:
        run = four.run(train, checkpoints=tmp_path, every=EVERY, faults=ALL_DIE, **JOB).wait()
    # Who came last in that step may have lost the others before it could die.
    assert set(run.deaths) | {e.rank for e in run.events if e.kind == "lost"} >= set(range(4))
    assert run.deaths
    assert not run.results
    told = [e.data["step"] for e in run.events if e.kind == "checkpoint"]

    with Cluster(3) as three:
        run = three.run(train, checkpoints=tmp_path, every=EVERY, **JOB).wait()

    assert first_step(run) in (21, 31)  # the last may have been under way
    assert first_step(run) > max(told, default=0)
    assert hashes(run) == dict.fromkeys(range(3), undisturbed)


@pytest.mark.case(6)
def test_all_die_and_the_launcher_starts_them_anew(tmp_path: Path, undisturbed: str) -> None:
    """6, in one run."""
    with Cluster(4, max_restarts=4) as cluster:
        how: dict[str, Any] = {"elastic": True, "faults": ALL_DIE, **JOB}
        run = cluster.run(train, checkpoints=tmp_path, every=EVERY, **how).wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed)
    assert any(e.name.startswith("goes on from") for e in run.events if e.kind == "note")
    assert len([e for e in run.events if e.name.startswith("the launcher starts")]) == 4


@pytest.mark.case(30)
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


def without(worker: Any, piece: str, **job: Any) -> dict[str, Any]:
    """Goes on from the newest checkpoint, but for one piece of it."""
    from labkit.training import durable

    restore, names = durable.restore, []

    def restore_most(pieces: Any, state: Any) -> None:
        names.extend(pieces)
        restore(pieces, state, frozenset({piece}))

    durable.restore = restore_most
    try:
        return {**train(worker, **job), "pieces": names}
    finally:
        durable.restore = restore


@pytest.mark.case(42)
def test_each_piece_of_a_checkpoint_is_needed_to_go_on(tmp_path: Path) -> None:
    """The guard knows that it has halved the rate."""
    guard, poisoned = Guard(policy="lower rate"), FaultPlan(At(PoisonGradient(0), step=3))
    with Cluster(1) as one:
        whole = one.run(train, steps=20, guard=guard, faults=poisoned).wait().results[0]
        how: dict[str, Any] = {"guard": guard, "checkpoints": tmp_path}
        one.run(train, steps=10, every=10, faults=poisoned, **how).wait()

        def resumed(piece: str) -> dict[str, Any]:
            run = one.run(without, piece=piece, steps=20, every=1000, **how)
            return dict(run.wait().results[0])

        complete = resumed("")
        incomplete = {piece: resumed(piece)["hash"] for piece in complete["pieces"]}

    assert complete["hash"] == whole["hash"]
    assert len(incomplete) == 5
    assert whole["hash"] not in incomplete.values()


def test_the_last_rank_of_all_goes_on_writing_them(tmp_path: Path, undisturbed: str) -> None:
    """It votes with itself, and the witness."""
    with Cluster(2) as cluster:
        how: dict[str, Any] = {"elastic": True, "faults": [At(Kill(1), step=15)], **JOB}
        run = cluster.run(train, checkpoints=tmp_path, every=EVERY, **how).wait()

    assert hashes(run) == {0: undisturbed}
    newest = Store(tmp_path).manifests()[-1]
    assert (newest.step, newest.world_size) == (60, 1)


def test_the_last_step_is_saved_though_the_one_before_is_being_written(
    tmp_path: Path, undisturbed: str
) -> None:
    """By a rank that is alone, and does not wait: its first one is written until all is done."""

    def job(worker: Any) -> dict[str, Any]:
        import threading

        from labkit.checkpoint import Store
        from labkit.training import loop

        prepare, evaluate, last = Store.prepare, loop.evaluate, threading.Event()

        def slow(*arguments: Any) -> Any:
            if arguments[3] == EVERY:
                last.wait()
            return prepare(*arguments)

        def reached(*arguments: Any) -> Any:
            last.set()
            return evaluate(*arguments)

        Store.prepare, loop.evaluate = slow, reached  # type: ignore[method-assign]
        try:
            return train(worker, checkpoints=tmp_path, every=EVERY, **JOB)
        finally:
            Store.prepare, loop.evaluate = prepare, evaluate  # type: ignore[method-assign]

    with Cluster(1) as cluster:
        run = cluster.run(job).wait()

    assert hashes(run) == {0: undisturbed}
    assert [made.step for made in Store(tmp_path).manifests()] == [EVERY, 60]


@pytest.mark.case(32)
def test_a_checkpoint_that_is_damaged_while_it_is_committed(
    tmp_path: Path, undisturbed: str
) -> None:
    """It costs that checkpoint, and no step."""

    def job(worker: Any) -> dict[str, Any]:
        from labkit.checkpoint import Store

        commit, calls = Store.commit_prepared, iter(range(100))

        def damaged(store: Store, *arguments: Any) -> Any:
            if next(calls) == 1:
                for note in tmp_path.glob("*.prepared"):
                    note.unlink(missing_ok=True)
            return commit(store, *arguments)

        Store.commit_prepared = damaged  # type: ignore[method-assign]
        try:
            return train(worker, checkpoints=tmp_path, every=EVERY, **JOB)
        finally:
            Store.commit_prepared = commit  # type: ignore[method-assign]

    with Cluster(2) as cluster:
        run = cluster.run(job).wait()

    assert hashes(run) == dict.fromkeys(range(2), undisturbed)
    assert any("and then it was damaged" in e.name for e in run.events if e.kind == "note")
    assert Store(tmp_path).manifests()[-1].step == 60


def test_a_damaged_one_is_said_once_and_the_one_before_it_is_used(
    tmp_path: Path, undisturbed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Cluster(2) as cluster:
        cluster.run(train, checkpoints=tmp_path, every=EVERY, **{**JOB, "steps": 30}).wait()
        (newest,) = tmp_path.glob("*.step-30.rank-1-of-2.safetensors")
        newest.write_bytes(newest.read_bytes()[:-1])
        capsys.readouterr()
        run = cluster.run(train, checkpoints=tmp_path, every=EVERY, **JOB).wait()

    assert hashes(run) == dict.fromkeys(range(2), undisturbed)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[rank")]
    assert len(told) == 2, told
    assert told[0].startswith(f"[rank 0] {newest.name}: it has")
    assert told[1].startswith("[rank 0] goes on from ")
    assert told[1].endswith(", step 20")


def test_a_checkpoint_says_by_what_code_and_data_it_was_made(tmp_path: Path) -> None:
    """Other labels are other data."""
    little = data.digits().train.rows(slice(100))
    others = Dataset(little.inputs, little.targets.flip(0))
    examined = data.digits().test.rows(slice(20))
    with Cluster(1) as cluster:
        how: dict[str, Any] = {"batch": 20, "steps": 2, "checkpoints": tmp_path, "every": 1}
        cluster.run(train, data=Data(little, examined), **how).wait()
        made = Store(tmp_path).manifests()[-1].made
        assert made.code == fingerprint(type(models.build("cnn")))
        assert made.data == fingerprint(little.inputs, little.targets, 0)
        with pytest.raises(RunError, match="it was made with other data"):
            cluster.run(train, data=Data(others, examined), **how).wait()


@pytest.mark.case(32)
def test_a_folder_that_nobody_can_write_costs_checkpoints_and_no_steps(
    tmp_path: Path, undisturbed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when there is one to go on from: a lock can be made no more."""

    def job(worker: Any, **job: Any) -> dict[str, Any]:
        import errno
        import os

        from labkit.checkpoint import lock

        def refuse(*_: Any) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        taken, lock.Lock.__init__ = lock.Lock.__init__, refuse  # type: ignore[method-assign]
        try:
            return train(worker, **job)
        finally:
            lock.Lock.__init__ = taken  # type: ignore[method-assign]

    how: dict[str, Any] = {"checkpoints": tmp_path, "every": EVERY, **JOB}
    with Cluster(2) as cluster:
        cluster.run(train, **{**how, "steps": 30}).wait()
    with Cluster(2) as cluster:
        run = cluster.run(job, **how).wait()

    assert hashes(run) == dict.fromkeys(range(2), undisturbed)
    assert first_step(run) == 31
    said = capsys.readouterr().out
    assert "no checkpoint, training goes on" in said
    assert "(Read-only file system). Make the folder writable for this user" in said
    assert Store(tmp_path).manifests()[-1].step == 30


@pytest.mark.case(37)
def test_a_second_run_in_the_folder_is_refused_and_the_first_goes_on(
    tmp_path: Path, undisturbed: str
) -> None:
    """37, between clusters."""
    gate, folder = tmp_path / "the second one has ended", tmp_path / "checkpoints"

    def waits(worker: Any, **job: Any) -> dict[str, Any]:
        import time

        step = worker.step

        def reached(number: int) -> None:
            step(number)
            while number == 30 and not gate.exists():
                time.sleep(0.005)

        worker.step = reached
        return train(worker, **job)

    job: dict[str, Any] = {"checkpoints": folder, "every": EVERY, **JOB}
    with Cluster(2) as one, Cluster(2) as other:
        first = one.run(waits, **job)
        wait_until(lambda: len(list(folder.glob("*.manifest"))) > 0, "there is no checkpoint")
        with pytest.raises(RunError, match=r"Locked.*another run writes its checkpoints here"):
            other.run(train, **job).wait()
        gate.touch()
        first.wait()

    assert hashes(first) == dict.fromkeys(range(2), undisturbed)
    assert Store(folder).manifests()[-1].step == 60


def until_25(step: int) -> float:
    """After that the weights stand still, and only the optimizer's state goes on."""
    return 1.0 if step < 25 else 0.0


def test_a_store_says_how_checkpoints_are_kept_and_a_second_home_brings_them_back(
    tmp_path: Path,
) -> None:
    """Packed, incremental, the last three, and uploaded, also after the death of the rank that did
    it; then the folder is lost, and another number of ranks goes on from the second home."""
    kept, away = tmp_path / "kept", f"file://{tmp_path}/away"
    job: dict[str, Any] = {"algorithm": "in_order", "schedule": until_25, "every": EVERY}
    with Cluster(1, record=False) as one:
        quiet = one.run(train, **job, steps=80).wait().results[0]["hash"]
    with Cluster(4) as cluster:
        how: dict[str, Any] = {"elastic": True, **job}
        how["checkpoints"] = Store(kept, keep=Keep(last=3), full_every=3, pack=True)
        how["upload"] = Store(Bucket(away), keep=Keep(last=2))
        run = cluster.run(train, steps=60, faults=FaultPlan(At(Kill(0), step=35)), **how).wait()
    assert set(run.deaths) == {0}
    assert set(run.results) == {1, 2, 3}

    made = Store(kept).manifests()
    assert [manifest.step for manifest in made] == [40, 50, 60]
    assert {file.packed for manifest in made for file in manifest.files} == {"zstd"}
    of = [{part.file.split(".")[1] for part in manifest.parts} for manifest in made]
    assert of == [{"step-40"}, {"step-40", "step-50"}, {"step-40", "step-60"}]
    there = [manifest.step for manifest in Store(Bucket(away)).manifests()]
    assert there in ([40, 60], [50, 60], [60])  # one that was overtaken is not sent
    sent = [(e.rank, e.data["step"]) for e in run.events if e.name == "uploaded"]
    assert sent[0][0] == 0
    assert sent[-1] == (1, 60)

    store = Store(tmp_path / "back")
    assert fetch(Bucket(away), store, reshard=True) is not None
    store.close()
    with Cluster(3, record=False) as three:
        run = three.run(train, steps=80, checkpoints=tmp_path / "back", **job).wait()
    assert first_step(run) == 61
    assert hashes(run) == dict.fromkeys(range(3), quiet)


def test_a_second_home_that_is_down_costs_no_checkpoint(tmp_path: Path, undisturbed: str) -> None:
    (tmp_path / "nas").symlink_to(tmp_path / "not mounted")
    how: dict[str, Any] = {"checkpoints": tmp_path / "kept", "upload": f"file://{tmp_path}/nas/x"}
    with Cluster(2, record=False) as cluster:
        run = cluster.run(train, every=1, **how, **JOB).wait()
    assert hashes(run) == dict.fromkeys(range(2), undisturbed)
    told = [e for e in run.events if e.name.startswith("no upload: step ")]
    assert {e.rank for e in told} == {0}
    made = {e.data["step"] for e in run.events if e.kind == "checkpoint"}
    assert made == set(range(1, 61))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"upload": "memory://away"}, "Say checkpoints=, the folder before it"),
        ({"checkpoints": "here", "upload": Store("there")}, "takes a URL, or a store in a bucket"),
    ],
)
def test_an_upload_without_a_folder_or_a_bucket_is_refused(how: dict[str, Any], told: str) -> None:
    with Cluster(1, record=False) as one, pytest.raises(RunError, match=told):
        one.run(train, **how, **JOB).wait()


class Wanted:
    """A rule of one rank's own: after step `at`, or never."""

    urgent = False

    def __init__(self, at: int | None) -> None:
        self.at = at

    def wants(self, now: Any) -> bool:
        return bool(now.step == self.at)

    def saved(self, when: Any, stall: float, duration: float) -> None:
        pass


def test_what_one_ranks_clock_wants_all_ranks_write(tmp_path: Path) -> None:
    """Their clocks differ, and a checkpoint is one only if all have a part of it. The votes travel
    with the gradients, in whatever kind of sum."""

    def job(worker: Any, folder: Path, **how: Any) -> dict[str, Any]:
        rule = Wanted({1: 7, 3: 13}.get(worker.rank))
        return train(worker, checkpoints=folder, every=rule, steps=20, **how)

    ways = {"ring": {}, "exact": {"exact": True}, "zero": {"zero": True}}
    ways |= {"in order": {"algorithm": "in_order"}, "redundant": {"redundancy": 2}}
    with Cluster(4) as cluster:
        for name, how in ways.items():
            folder = tmp_path / name
            run = cluster.run(job, folder=folder, **how).wait()

            assert len(set(hashes(run).values())) == 1
            made = sorted(path.name for path in folder.glob("*.manifest"))
            assert [name.split(".")[1] for name in made] == ["step-7", "step-13"], name
            assert len(list(folder.glob("*.step-13.rank-*-of-4.safetensors"))) == 4


def test_who_dies_is_a_failure_that_the_interval_reckons_with(tmp_path: Path) -> None:
    class Told(YoungDaly):
        def failed(self, time: float) -> None:
            super().failed(time)
            events.record("note", f"failures: {self.failures}")

    deaths = [At(Kill(2), step=10), At(Kill(1), step=20)]
    how = {"checkpoints": tmp_path, "every": Told(mtbf=60.0), "elastic": True, **JOB}
    with Cluster(4, backend="gloo", device="cpu") as cluster:
        run = cluster.run(train, faults=deaths, **how).wait()
    told = sorted((e.rank, e.name) for e in run.events if e.name.startswith("failures:"))
    both = "failures: 1", "failures: 2"
    assert told == [(0, both[0]), (0, both[1]), (1, both[0]), (3, both[0]), (3, both[1])]


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


BADLY = {
    "paused": At(Pause(1, 2.5), step=20),
    "slow": At(Slow(1, 4.0), step=20),
    "killed": At(Kill(1), step=20),
}


@pytest.mark.case(9)
@pytest.mark.parametrize("how", BADLY)
def test_clocks_of_ranks_that_fare_badly(tmp_path: Path, undisturbed: str, how: str) -> None:
    """9, what the one that was paused still writes counts for nothing: it is taken for dead, and
    comes back as one that was killed does, with a rule that knows nothing yet."""
    rule = EverySeconds(0.1)
    with Cluster(4, silence=1.0, max_restarts=1) as cluster:
        job: dict[str, Any] = {"elastic": True, "faults": [BADLY[how]], **JOB}
        run = cluster.run(train, checkpoints=tmp_path, every=rule, **job).wait()

    assert set(hashes(run).values()) == {undisturbed}
    assert {*hashes(run)} >= {0, 2, 3}
    steps = [e.data["step"] for e in run.events if e.kind == "checkpoint"]
    assert [step for step in steps if step < 20]
    assert [step for step in steps if step > 20]
    assert not [e.name for e in run.events if e.name.startswith("no checkpoint")]
    newest = Store(tmp_path).manifests()[-1]
    loaded = Store(tmp_path).load(0, newest.world_size)
    assert loaded is not None
    assert loaded.remarks == []


@pytest.mark.case(32)
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
                folder.rename(tmp_path / "elsewhere")  # where one that is under way ends
                folder.touch()

        worker.step = reached
        return train(worker, checkpoints=folder, every=EVERY, **JOB)

    with Cluster(2) as cluster:
        run = cluster.run(lose_the_folder).wait()

    assert hashes(run) == dict.fromkeys(range(2), undisturbed)
    assert any(e.name.startswith("no checkpoint: ") for e in run.events if e.kind == "note")


def test_the_folder_is_free_again_when_a_run_has_ended_by_an_error_or_was_cancelled(
    tmp_path: Path,
) -> None:
    """Its processes live on, and wait for their next run."""

    def breaks(step: int) -> float:
        if step == 12:
            raise RuntimeError("a slip in the schedule")
        return 1.0

    how: dict[str, Any] = {"checkpoints": tmp_path, "every": 5, "algorithm": "in_order"}
    with Cluster(2) as one, Cluster(2) as other:
        with pytest.raises(RunError, match="a slip in the schedule"):
            one.run(train, steps=20, schedule=breaks, **how).wait()
        wait_until(lambda: is_free(tmp_path), "the folder is still locked after an error")
        other.run(train, steps=15, **how).wait()
        wait_until(lambda: is_free(tmp_path), "the folder is still locked after the end")
        run = one.run(train, steps=100_000, **how)
        run.wait_step(25)
        run.cancel()
        wait_until(lambda: is_free(tmp_path), "the folder is still locked after it was cancelled")
        other.run(train, steps=other_steps(tmp_path), **how).wait()


def is_free(folder: Path) -> bool:
    try:
        Lock(folder, "a third one").close()
    except Locked:
        return False
    return True


def other_steps(folder: Path) -> int:
    return 5 + max(made.step for made in Store(folder).manifests())


def test_who_goes_on_has_to_be_better_than_before(tmp_path: Path) -> None:
    """The loss is largest at first, so there is none by this rule later on."""
    how: dict[str, Any] = {"checkpoints": tmp_path, "every": OnImprovement(largest=True)}
    made = []
    for steps in (10, 20):
        with Cluster(1) as cluster:
            cluster.run(train, steps=steps, **how).wait()
        made.append([one.step for one in Store(tmp_path).manifests()])
    assert made[0] == made[1] != []


def test_another_order_of_the_samples_is_refused(tmp_path: Path) -> None:
    """In the order of another seed some samples would come twice, and others never."""
    how: dict[str, Any] = {"checkpoints": tmp_path, "every": 2}
    with Cluster(1, seed=1) as cluster:
        cluster.run(train, steps=4, **how).wait()
    with Cluster(1, seed=2) as cluster, pytest.raises(RunError, match="with another seed"):
        cluster.run(train, steps=6, **how).wait()


def test_what_cannot_be_meant_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with Cluster(2) as cluster:
        for wrong, said in (
            ({"every": 0, "checkpoints": tmp_path}, "a checkpoint every 0 steps: use 1 or more"),
            ({"every": None, "checkpoints": tmp_path}, "every=None: a number of steps, or a rule"),
            ({"minimum": 3}, "minimum=3: use 1 to 2"),
        ):
            with pytest.raises(RunError, match=said):
                cluster.run(train, steps=2, **wrong).wait()
