"""Many ranks write one checkpoint: in parallel, each its cut; it is there when all are, or not."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from trained import bits, pieces, train

from labkit.checkpoint import BadCheckpoint, CheckpointFailed, Keep, Manifest, Store
from labkit.checkpoint.background import Alone, Checkpointer
from labkit.checkpoint.manifest import Shard, number_of
from labkit.checkpoint.snapshot import ChangedMeanwhile
from labkit.disk import RealDisk

RANKS = 3


class Meeting:
    """A `Committer` for ranks that are threads: they wait for each other, and all decide alike."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=60)
        self.yes = [False] * size
        self.number = 0

    def place(self, store: Store, rank: int) -> Place:
        return Place(self, store, rank)


class Place:
    def __init__(self, meeting: Meeting, store: Store, rank: int) -> None:
        self.meeting, self.store, self.rank = meeting, store, rank

    def recover(self) -> None:
        pass

    def begin(self, step: int) -> int:
        if self.rank == 0:
            self.meeting.number = self.store.next_number()
        self.meeting.barrier.wait()
        return self.meeting.number

    def vote(
        self, number: int, step: int, shard: Shard | None, metrics: Mapping[str, float]
    ) -> Manifest | None:
        self.meeting.yes[self.rank] = shard is not None
        self.meeting.barrier.wait()
        if all(self.meeting.yes):
            made = self.store.commit_prepared(number, self.rank)  # all of them, at once
            self.meeting.barrier.wait()  # before rank 0 tidies up
            return made
        self.store.abandon(number)
        self.meeting.barrier.wait()
        return None


def together(folder: Path, these: dict) -> list[Checkpointer]:
    meeting = Meeting(RANKS)
    stores = [Store(folder, Keep(last=1)) for _ in range(RANKS)]
    for store in stores:
        store.share("one run")
    return [
        Checkpointer(store, these, committer=meeting.place(store, rank), rank=rank, size=RANKS)
        for rank, store in enumerate(stores)
    ]


def test_all_ranks_write_their_cut_and_commit_at_once(tmp_path: Path) -> None:
    these = pieces()
    ranks = together(tmp_path, these)
    for step in (1, 2):
        train(these, 1)
        for rank in ranks:
            assert rank.save(step, {"loss": 0.5})
        for rank in ranks:
            rank.wait()
    manifests = [rank.newest for rank in ranks]
    assert manifests[0] is not None
    assert manifests[0] == manifests[1] == manifests[2]
    assert (manifests[0].step, manifests[0].metrics) == (2, {"loss": 0.5})
    left = {path.name for path in tmp_path.iterdir()} - {"lock", "latest"}
    assert left == {manifests[0].name, *(file.name for file in manifests[0].files)}
    for rank in range(RANKS):
        loaded = Store(tmp_path).load(rank, RANKS)
        assert loaded is not None
        model = these["model"].state_dict()
        assert all(torch.equal(loaded.state["model"][k], v) for k, v in model.items())


@pytest.mark.case(32)
def test_32_when_one_cannot_write_nothing_is_visible_and_the_next_one_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    these = pieces()
    train(these, 1)
    ranks = together(tmp_path, these)
    real = RealDisk.fsync

    def fail(self: RealDisk, name: str) -> None:
        if "rank-1-of" in name:
            raise OSError(28, "No space left on device")
        real(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(RealDisk, "fsync", fail)
        for rank in ranks:
            rank.save(1)
        for rank in ranks:
            assert rank._thread is not None
            rank._thread.join()
    with pytest.raises(CheckpointFailed, match="shard of rank 1 failed"):
        ranks[1].check()
    for rank in ranks:
        rank.wait()
        assert rank.newest is None
    assert [path.name for path in tmp_path.iterdir() if number_of(path.name)] == []
    for rank in ranks:
        rank.save(2)
    for rank in ranks:
        rank.close()
    assert [made.step for made in Store(tmp_path).manifests()] == [2]


def test_a_rank_whose_snapshot_is_spoilt_votes_no_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    these = pieces()
    train(these, 1)
    ranks = together(tmp_path, these)

    def spoilt(point: object) -> None:
        raise ChangedMeanwhile("model/0.weight changed")

    with monkeypatch.context() as patch:
        patch.setattr(ranks[2], "_copy", spoilt)
        for rank in ranks:
            rank.save(1)
        for rank in ranks:
            assert rank._thread is not None
            rank._thread.join()
    with pytest.raises(ChangedMeanwhile):
        ranks[2].check()
    for rank in ranks:
        rank.close()
        assert rank.newest is None
    assert Store(tmp_path).load(0, RANKS) is None


@pytest.mark.case(33, 34, 35)
def test_what_was_prepared_is_committed_by_any_rank_of_a_later_life(tmp_path: Path) -> None:
    """33, 34: it was decided, and everybody died before the manifest was written."""
    these = pieces()
    train(these, 3)
    saved = bits(these)
    prepare(tmp_path, these, range(RANKS))
    assert Store(tmp_path).load(0, RANKS) is None, "prepared is not visible"
    later = Store(tmp_path)
    made = later.commit_prepared(1, rank=2)
    assert later.commit_prepared(1, rank=0) == made, "35: twice is once"
    later.abandon(1)  # a stale decision changes nothing any more
    later.tidy(made)
    assert later.commit_prepared(1) == made, "nor does one that comes after the notes are gone"
    others = pieces(seed=1)
    loaded = later.load(1, RANKS)
    assert loaded is not None
    for name in ("model", "average"):
        others[name].load_state_dict(loaded.state[name])
    assert bits(others) == saved


def test_without_all_notes_there_is_no_commit(tmp_path: Path) -> None:
    prepare(tmp_path, pieces(), (0, 2))
    store = Store(tmp_path)
    with pytest.raises(BadCheckpoint, match=r"attempt 1: prepared by .*rank-0.*, not by all"):
        store.commit_prepared(1)
    store.abandon(1)
    store.abandon(1)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    with pytest.raises(BadCheckpoint, match="prepared by nobody"):
        store.commit_prepared(1)


def prepare(folder: Path, these: dict, ranks: object) -> None:
    for rank in ranks:  # type: ignore[attr-defined]
        store = Store(folder)
        store.share("one run")
        snapshot = store.snapshot({k: p.state_dict() for k, p in these.items() if k != "sampler"},
                                  rank, RANKS)  # fmt: skip
        snapshot.copy()
        store.prepare(snapshot, 1, 3, rank, RANKS)
        store.close()


class Noting(Alone):
    """Notes what it is asked, and fails when it is told to."""

    def __init__(self, store: Store, error: Exception | None = None) -> None:
        super().__init__(store)
        self.error, self.asked = error, list[str]()
        self.go_on = threading.Event()

    def recover(self) -> None:
        self.asked.append("recover")

    def vote(self, *arguments: Any) -> Manifest | None:
        assert self.go_on.wait(10)
        self.asked.append("vote")
        if self.error is not None:
            raise self.error
        return super().vote(*arguments)


def test_what_is_left_over_is_looked_at_when_the_writer_rests(tmp_path: Path) -> None:
    """Else both would tidy up at once, and `latest` might go back."""
    store, these = Store(tmp_path), pieces()
    committer = Noting(store)
    checkpointer = Checkpointer(store, these, committer=committer)

    checkpointer.save(1, at_once=True)
    threading.Timer(0.05, committer.go_on.set).start()
    checkpointer.move(committer, 0, 1)

    assert committer.asked == ["recover", "vote", "recover"]
    checkpointer.close()


def test_a_checkpoint_that_failed_does_not_keep_a_rank_in_its_old_view(tmp_path: Path) -> None:
    store, these = Store(tmp_path), pieces()
    first, second = Noting(store, CheckpointFailed("the disk is full")), Noting(store)
    first.go_on.set()
    checkpointer = Checkpointer(store, these, committer=first)
    checkpointer.save(1, at_once=True)

    with pytest.raises(CheckpointFailed, match="the disk is full"):
        checkpointer.move(second, 1, 3)

    assert (checkpointer.committer, checkpointer.rank, checkpointer.size) == (second, 1, 3)
    assert second.asked == ["recover"]
    checkpointer.close()
