"""Checkpoints in the background: what is saved is the state at the safe point, whatever follows.

What goes wrong is said at the next step. Fault cases 7, 32, 38, 39 and 42.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from trained import bits, pieces, train

from labkit import faults
from labkit.checkpoint import CheckpointFailed, Keep, Store, capture, restore
from labkit.checkpoint.background import Alone, Checkpointer
from labkit.checkpoint.manifest import Manifest, Shard
from labkit.checkpoint.policy import (
    AnyOf,
    EverySeconds,
    EverySteps,
    Moment,
    OnImprovement,
    OnSignal,
    Policy,
    YoungDaly,
    policy_of,
    report_failure,
)
from labkit.checkpoint.snapshot import ChangedMeanwhile
from labkit.disk import RealDisk


def hold_at(monkeypatch: pytest.MonkeyPatch, name: str) -> threading.Event:
    """Whoever reaches that point waits there until the event is set."""
    go_on = threading.Event()

    class Gate(faults.Armed):
        def reach(self, point: str | None = None, step: int | None = None) -> None:
            if point == name:
                assert go_on.wait(60)

    monkeypatch.setattr(faults.points, "armed", Gate())
    return go_on


@pytest.mark.case(38)
def test_38_what_changes_after_the_safe_point_is_not_in_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is held before its first byte while training goes on for three steps."""
    these = pieces()
    train(these, 4)
    saved = bits(these)
    checkpointer = Checkpointer(Store(tmp_path), these)
    go_on = hold_at(monkeypatch, "checkpoint.write")
    assert checkpointer.save(4)
    after = train(these, 3)
    assert not checkpointer.save(7), "one at a time"
    go_on.set()
    checkpointer.close()
    others = pieces(seed=1)
    others["sampler"].seed = 0
    loaded = Store(tmp_path).load()
    assert loaded is not None
    restore(others, loaded.state)
    assert bits(others) == saved
    assert train(others, 3) == after, "the same bits as the run that was not stopped (42)"


def test_the_optimizer_waits_for_the_copy_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    these = pieces()
    train(these, 2)
    saved = bits(these)
    checkpointer = Checkpointer(Store(tmp_path), these)
    go_on = hold_at(monkeypatch, "checkpoint.copy")
    checkpointer.save(2)  # returns although not a byte is copied
    these["model"](torch.randn(4, 6)).sum().backward()  # changes what BatchNorm has counted
    stepping = threading.Thread(target=these["optimizer"].step)
    stepping.start()
    stepping.join(0.1)
    assert stepping.is_alive(), "it would have changed what is being copied"
    go_on.set()
    stepping.join()
    checkpointer.close()
    assert checkpointer.stall > 0.05
    others = pieces(seed=1)
    loaded = Store(tmp_path).load()
    assert loaded is not None
    restore(others, loaded.state)
    assert bits(others) == saved


class Counting:
    """A piece whose state is what it works with, not a copy."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.counts = torch.zeros(3)

    def state_dict(self) -> dict:
        return {"seen": self.seen, "counts": self.counts}


@pytest.mark.case(38)
def test_38_a_piece_that_gives_its_live_state_is_held_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    these = {**pieces(), "counting": counting}
    checkpointer = Checkpointer(Store(tmp_path), these)
    go_on = hold_at(monkeypatch, "checkpoint.copy")
    checkpointer.save(1)
    counting.seen.append(7)
    counting.counts += 1
    go_on.set()
    checkpointer.close()
    loaded = Store(tmp_path).load()
    assert loaded is not None
    assert loaded.state["counting"]["seen"] == []
    assert loaded.state["counting"]["counts"].tolist() == [0, 0, 0]


@pytest.mark.case(38)
def test_38_an_average_moves_also_behind_a_step_that_the_scaler_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nobody calls optimizer.step, and its hook does not wait for the copy."""
    these = pieces()
    train(these, 2)
    before = bits(these)
    checkpointer = Checkpointer(Store(tmp_path), these)
    go_on = hold_at(monkeypatch, "checkpoint.copy")
    checkpointer.save(2)
    these["average"].update_parameters(these["model"])
    these["average"].update_parameters(these["model"])
    assert bits(these) != before
    go_on.set()
    checkpointer.close()
    again = pieces(seed=1)
    loaded = Store(tmp_path).load()
    assert loaded is not None
    restore(again, loaded.state)
    assert bits(again) == before


def test_a_weight_that_changes_elsewhere_spoils_the_snapshot_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    these = pieces()
    train(these, 2)
    checkpointer = Checkpointer(Store(tmp_path), these)
    go_on = hold_at(monkeypatch, "checkpoint.copy")
    checkpointer.save(2)
    with torch.no_grad():
        these["model"][0].weight.mul_(2)
    go_on.set()
    with pytest.raises(ChangedMeanwhile, match=r"model/0.weight changed while.*at_once=True"):
        checkpointer.wait()
    assert Store(tmp_path).load() is None
    go_on.clear()
    stepping = threading.Timer(0.05, go_on.set)
    stepping.start()
    assert checkpointer.save(2, at_once=True)
    with torch.no_grad():
        these["model"][0].weight.mul_(2)
    checkpointer.close()
    loaded = Store(tmp_path).load()
    assert loaded is not None
    assert torch.equal(2 * loaded.state["model"]["0.weight"], these["model"][0].weight)


@pytest.mark.case(39)
@pytest.mark.parametrize("method", ["write", "append", "fsync", "rename", "fsync_dir"])
def test_39_an_error_of_the_writer_is_raised_at_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    these = pieces()
    train(these, 1)
    checkpointer = Checkpointer(Store(tmp_path), these, EverySteps(1))
    checkpointer.step(1)
    checkpointer.wait()

    def fail(self: RealDisk, *_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(RealDisk, method, fail)
        assert checkpointer.step(2)
        assert checkpointer._thread is not None
        checkpointer._thread.join()
    with pytest.raises(CheckpointFailed, match=r"step 2, shard of rank 0 failed \(No space left"):
        checkpointer.step(3)
    assert checkpointer.newest is not None
    assert checkpointer.newest.step == 1
    assert checkpointer.step(4), "training and its checkpoints go on"
    checkpointer.close()
    assert [made.step for made in Store(tmp_path).manifests()] == [1, 4]


@pytest.mark.case(32)
def test_32_a_rank_that_cannot_write_votes_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    these, votes = pieces(), []

    class Asked(Alone):
        def vote(
            self, number: int, step: int, shard: Shard | None, metrics: object
        ) -> Manifest | None:
            votes.append((number, step, shard is not None))
            return super().vote(number, step, shard, {})

    store = Store(tmp_path)
    checkpointer = Checkpointer(store, these, committer=Asked(store))
    checkpointer.save(1)
    checkpointer.wait()
    monkeypatch.setattr(RealDisk, "append", lambda *_: os.close(1 << 20))
    checkpointer.save(2)
    with pytest.raises(CheckpointFailed):
        checkpointer.wait()
    assert votes == [(1, 1, True), (2, 2, False)]


def test_saving_again_needs_no_new_memory(tmp_path: Path) -> None:
    these = pieces()
    train(these, 1)
    checkpointer = Checkpointer(Store(tmp_path), these)
    checkpointer.step(1)
    first = checkpointer.store.memory.room(0).data_ptr()
    for step in (1, 2):
        train(these, 1)
        checkpointer.save(step)
        checkpointer.wait()
    assert checkpointer.store.memory.room(0).data_ptr() == first


# -- when


def wants(policy: Policy, moments: list[Moment], stall: float = 0.0, duration: float = 0.0) -> list:
    """The steps at which the policy wants a checkpoint, and is told that it got it."""
    chosen = []
    for moment in moments:
        if policy.wants(moment):
            policy.saved(moment, stall, duration)
            chosen.append(moment.step)
    return chosen


def seconds(count: int) -> list[Moment]:
    return [Moment(step, 1000.0 + step) for step in range(1, count + 1)]


def losses(*values: float) -> list[Moment]:
    return [Moment(step, 0.0, {"loss": loss}) for step, loss in enumerate(values, start=1)]


def test_every_so_many_steps_or_seconds() -> None:
    assert wants(EverySteps(4), seconds(13)) == [4, 8, 12]
    assert wants(EverySeconds(5), seconds(13)) == [6, 11]
    assert wants(AnyOf(EverySteps(4), EverySeconds(3)), seconds(10)) == [4, 7, 8]


def test_on_improvement() -> None:
    assert wants(OnImprovement(), losses(3.0, 2.0, 2.5, 2.0, 1.0)) == [1, 2, 5]
    assert wants(OnImprovement(largest=True), losses(3.0, 2.0, 3.5)) == [1, 3]
    assert wants(OnImprovement("accuracy"), losses(3.0)) == []
    skipped = OnImprovement()
    assert [skipped.wants(moment) for moment in losses(3.0, 2.0, 2.5)] == [True] * 3
    skipped.saved(losses(2.5)[0], 0.0, 0.0)
    assert [skipped.wants(moment) for moment in losses(3.0, 2.0, 2.5)] == [False, True, False]
    assert wants(OnImprovement(), losses(float("nan"), 1.0)) == [2]


def test_what_an_earlier_life_has_reached_is_to_be_improved_on(tmp_path: Path) -> None:
    these = pieces()
    store = Store(tmp_path)
    store.save(capture(these), 1, {"loss": 0.5})
    rule = AnyOf(EverySteps(1000), OnImprovement())
    checkpointer = Checkpointer(store, these, rule)
    assert not checkpointer.step(2, {"loss": 0.7})
    assert checkpointer.step(3, {"loss": 0.4})
    checkpointer.close()


def test_young_and_dalys_interval_follows_the_measured_cost() -> None:
    """√(2 · 0.5 s · 100 s) = 10 s between checkpoints that hold training up for 0.5 s, and a little
    more with each second without a failure."""
    policy = YoungDaly(mtbf=100.0, first=5.0)
    assert wants(policy, seconds(30), stall=0.5) == [6, 17, 28]
    assert policy.interval == pytest.approx(math.sqrt(2 * 0.5 * (100 + 27)))
    busy = YoungDaly(mtbf=100.0, first=5.0)
    assert wants(busy, seconds(30), stall=0.5, duration=12.0) == [6, 18, 30]


def test_young_and_dalys_interval_follows_the_failures_that_are_seen() -> None:
    """Three in the 100 s after which one was expected: (100 + 100) / (1 + 3) = 50 s each."""
    policy = YoungDaly(mtbf=100.0, first=5.0)
    report_failure(policy, 0.0)  # before its first checkpoint: it is counted
    wants(policy, seconds(2), stall=0.5)
    policy.began = 0.0
    policy.saved(Moment(50, 50.0), stall=0.5, duration=0.0)
    for time in (60.0, 100.0):
        report_failure(AnyOf(EverySteps(1000), policy), time)
    assert policy.interval == pytest.approx(math.sqrt(2 * 0.5 * 50))


@pytest.mark.case(7)
def test_7_a_preemption_notice_is_answered_at_the_next_safe_point(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    notice = OnSignal(signal.SIGTERM)
    try:
        these = pieces()
        checkpointer = Checkpointer(Store(tmp_path), these, AnyOf(EverySteps(100), notice))
        for step in range(1, 10):
            train(these, 1)
            if step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            checkpointer.step(step)
            if notice.received:
                break
        checkpointer.close()
        assert step == 3
        loaded = Store(tmp_path).load()
        assert loaded is not None
        assert loaded.manifest.step == 3
    finally:
        notice.close()
    assert signal.getsignal(signal.SIGTERM) == before


def test_7_a_notice_waits_for_what_is_being_written_and_then_writes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = OnSignal(signal.SIGTERM)
    try:
        these = pieces()
        checkpointer = Checkpointer(Store(tmp_path), these, AnyOf(EverySteps(1), notice))
        go_on = hold_at(monkeypatch, "checkpoint.write")
        train(these, 1)
        checkpointer.step(1)
        train(these, 1)
        assert not checkpointer.step(2), "one is being written: this one is left out"
        train(these, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Timer(0.05, go_on.set).start()
        assert checkpointer.step(3)
        checkpointer.close()
    finally:
        notice.close()
    assert [made.step for made in Store(tmp_path).manifests()] == [1, 3]


def test_in_another_view_the_next_one_refers_to_nothing(tmp_path: Path) -> None:
    """A rank that was cut off comes back: the others have gone on to write, and to tidy up."""
    these, keep = pieces(), Keep(last=1)
    mine = Checkpointer(Store(tmp_path, keep, run="one", full_every=9), these, EverySteps(1))
    others = Store(tmp_path, keep, run="one")
    mine.step(1)
    mine.wait()
    others.save(capture(these), 2)
    mine.move(Alone(mine.store), 0, 1)
    mine.step(3)
    mine.close()
    loaded = Store(tmp_path).load()
    assert loaded is not None
    assert (loaded.manifest.step, loaded.remarks) == (3, [])


def test_metrics_are_kept_with_the_checkpoint(tmp_path: Path) -> None:
    these = pieces()
    store = Store(tmp_path)
    checkpointer = Checkpointer(store, these, OnImprovement())
    for step, loss in enumerate((2.0, 3.0, 1.0), start=1):
        train(these, 1)
        checkpointer.step(step, {"loss": loss})
        checkpointer.wait()
    assert [made.metrics for made in store.manifests()] == [{"loss": 2.0}, {"loss": 1.0}]


def test_capture_copies_nothing() -> None:
    these = pieces()
    weight = capture(these)["model"]["0.weight"]
    assert weight.data_ptr() == these["model"][0].weight.data_ptr()


@pytest.mark.parametrize(
    "make",
    [
        lambda: EverySteps(0),
        lambda: EverySteps(-5),
        lambda: EverySeconds(0.0),
        lambda: YoungDaly(mtbf=0.0),
        lambda: policy_of(2.5),
        lambda: policy_of(None),
    ],
)
def test_a_rule_that_can_never_be_meant_is_refused_with_what_to_write(make: Any) -> None:
    with pytest.raises(ValueError, match=r"use (1|one|a number)|a number of steps, or a rule"):
        make()
