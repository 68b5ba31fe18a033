"""The power fails at every operation of the disk, and what was not synced is there or not.

A missing fsync cannot be seen with SIGKILL, only here.
"""

from __future__ import annotations

import pytest
import torch

from labkit.checkpoint import Keep, Store
from labkit.disk import DiskFailure
from labkit.simulator.disk import PowerFailure, SimulatedDisk

SAVES = 3


def state(step: int) -> dict:
    frozen = torch.full((4,), 9.0)
    return {"model": {"w": torch.full((3, 2), float(step)), "frozen": frozen}}


def store_on(disk: SimulatedDisk, full_every: int) -> Store:
    return Store(disk, Keep(last=1), full_every=full_every)


def newest(disk: SimulatedDisk, full_every: int, ranks: int = 1) -> int:
    """The step of the newest good checkpoint, whose tensors are all those of that step."""
    loaded = store_on(disk, full_every).load(0, ranks)
    if loaded is None:
        return 0
    step = loaded.manifest.step
    assert repr(loaded.state) == repr(state(step)), "a mixture of two checkpoints"
    return step


def save(store: Store, step: int, ranks: int) -> None:
    """With many ranks: all prepare, in turn, and two of them commit."""
    if ranks == 1:
        store.save(state(step), step)
        return
    number = store.next_number()
    prepare(store, number, step, ranks)
    for rank in (1, 0):
        made = store.commit_prepared(number, rank)
    store.increments.remember(made)
    store.tidy(made)


def prepare(store: Store, number: int, step: int, ranks: int) -> None:
    store.share("one run")
    for rank in range(ranks):
        snapshot = store.snapshot(state(step), rank, ranks)
        snapshot.copy()
        store.prepare(snapshot, number, step, rank, ranks)


def run_until_the_power_fails(disk: SimulatedDisk, full_every: int, ranks: int) -> int:
    """Returns the step of the last save that returned."""
    store, done = store_on(disk, full_every), 0
    try:
        for step in range(1, SAVES + 1):
            save(store, step, ranks)
            done = step
    except PowerFailure:
        disk.lose_power()
    return done


@pytest.mark.parametrize(("full_every", "ranks"), [(1, 1), (3, 1), (3, 2)])
def test_a_power_failure_at_any_operation_leaves_the_old_or_the_new_one(
    full_every: int, ranks: int
) -> None:
    disk = SimulatedDisk()
    assert run_until_the_power_fails(disk, full_every, ranks) == SAVES
    operations = disk.operations
    assert operations > 40
    for fails_at in range(1, operations + 1):
        for seed in range(4):
            disk = SimulatedDisk(seed, fails_at)
            done = run_until_the_power_fails(disk, full_every, ranks)
            assert newest(disk, full_every, ranks) in (done, done + 1), (fails_at, seed)
            store = store_on(disk, full_every)
            for made in store.manifests():  # none of which a collection has half removed
                assert {file.name for file in made.files} <= set(disk.list()), (fails_at, seed)
            save(store, 9, ranks)  # the next life goes on, whatever it finds
            disk.lose_power()
            assert newest(disk, full_every, ranks) == 9


def test_what_was_prepared_by_all_can_be_committed_after_a_power_failure() -> None:
    """Who has voted yes has given away the right to abort: it must not need anything it had."""
    for seed in range(20):
        disk = SimulatedDisk(seed)
        prepare(store_on(disk, 1), 1, 1, 2)
        disk.lose_power()
        assert newest(disk, 1, 2) == 0
        store_on(disk, 1).commit_prepared(1)
        assert newest(disk, 1, 2) == 1


def test_a_failed_fsync_commits_nothing_and_the_next_checkpoint_is_good() -> None:
    disk = SimulatedDisk()
    store = store_on(disk, 1)
    store.save(state(1), 1)
    disk.fail_fsync = True
    with pytest.raises(Exception, match="shard of rank 0 failed") as caught:
        store.save(state(2), 2)
    assert isinstance(caught.value.__cause__, DiskFailure)
    disk.lose_power()
    assert newest(disk, 1) == 1
    store.save(state(3), 3)
    disk.lose_power()
    assert newest(disk, 1) == 3
