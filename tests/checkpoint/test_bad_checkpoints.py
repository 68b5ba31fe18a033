"""What is damaged, foreign or cannot be written: a sentence with file, reason and advice.

The newest good checkpoint is used; nothing is deleted. Numbers are those of the fault cases.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from labkit import disk as disk_module
from labkit.checkpoint import (
    CheckpointFailed,
    Keep,
    Made,
    NoGoodCheckpoint,
    Store,
    fingerprint,
    restore,
)
from labkit.checkpoint.manifest import Manifest
from labkit.checkpoint.state import Progress

Saved = tuple[Path, list[Manifest]]


def state(step: int, outputs: int = 4) -> dict:
    torch.manual_seed(step)
    return {
        "model": dict(torch.nn.Linear(3, outputs).state_dict()),
        "progress": {"step": step, "epoch": 0, "counters": {}},
    }


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """Three good checkpoints."""
    store = Store(tmp_path)
    made = [store.save(state(step), step) for step in (10, 20, 30)]
    store.close()
    return tmp_path, made


def shard(folder: Path, made: Manifest) -> Path:
    return folder / made.files[0].name


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def cut(path: Path, to: int = -1) -> None:
    path.write_bytes(path.read_bytes()[:to])


def oldest_format(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"format 1", b"format 0", 1))


def newer_format(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"format 1", b"format 7", 1))


Damage = Callable[[Path, Manifest], object]
DAMAGE: dict[str, tuple[Damage, str]] = {
    "truncated shard": (lambda d, m: cut(shard(d, m)), r"has \d+ bytes and was written with \d+"),
    "emptied shard": (lambda d, m: cut(shard(d, m), 0), "has 0 bytes"),
    "grown shard": (lambda d, m: shard(d, m).open("ab").write(b"x"), r"has \d+ bytes"),
    "flipped bit": (lambda d, m: flip(shard(d, m), -2), "the bytes of '.*' have changed"),
    "flipped bit in the header": (lambda d, m: flip(shard(d, m), 40), "its header is damaged"),
    "flipped bit in its length": (lambda d, m: flip(shard(d, m), 3), "its header is damaged"),
    "missing shard": (lambda d, m: shard(d, m).unlink(), "this shard is missing"),
    "truncated manifest": (lambda d, m: cut(d / m.name), "not those that were written"),
    "emptied manifest": (lambda d, m: cut(d / m.name, 0), "this is no manifest"),
    "flipped bit in the manifest": (lambda d, m: flip(d / m.name, 400), "not those that were"),
    "older format (43)": (lambda d, m: oldest_format(d / m.name), "format 0, of an older labkit"),
    "newer format (43)": (lambda d, m: newer_format(d / m.name), "format 7, of a newer labkit"),
}


@pytest.mark.case(36, 43)
@pytest.mark.parametrize("kind", DAMAGE)
def test_36_damage_is_named_and_the_newest_good_one_is_used(saved: Saved, kind: str) -> None:
    folder, made = saved
    damage, sentence = DAMAGE[kind]
    for newest in (made[2], made[1]):
        damage(folder, newest)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    loaded = Store(folder).load()
    assert loaded is not None
    assert loaded.manifest.step == 10
    assert repr(loaded.state) == repr(state(10))
    assert len(loaded.remarks) == 2
    for remark, of in zip(loaded.remarks, (made[2], made[1]), strict=True):
        assert remark.startswith(of.name.removesuffix("manifest")), "the file is named"
        assert re.search(sentence, remark)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.case(36)
def test_36_every_single_byte_counts(tmp_path: Path) -> None:
    """No bit of a shard or a manifest can turn over unseen."""
    made = Store(tmp_path).save({"model": {"w": torch.arange(3.0)}}, 1)
    for path in (shard(tmp_path, made), tmp_path / made.name):
        good = path.read_bytes()
        for at in range(len(good)):
            flip(path, at)
            with pytest.raises(NoGoodCheckpoint, match=path.name.split(".")[0]):
                Store(tmp_path).load()
            path.write_bytes(good)
    assert Store(tmp_path).load() is not None


def test_when_none_is_good_all_reasons_are_said(saved: Saved) -> None:
    folder, made = saved
    for m in made:
        shard(folder, m).unlink()
    with pytest.raises(NoGoodCheckpoint) as caught:
        Store(folder).load()
    for m in made:
        assert f"{m.files[0].name}: this shard is missing" in str(caught.value)
    assert str(caught.value).endswith("To begin anew, give a folder of its own.")


def test_the_next_checkpoint_after_falling_back_is_the_newest(saved: Saved) -> None:
    folder, made = saved
    cut(shard(folder, made[2]))
    store = Store(folder, Keep(last=2))
    store.save(state(25), 25)
    loaded = store.load()
    assert loaded is not None
    assert (loaded.manifest.step, loaded.remarks) == (25, [])
    assert shard(folder, made[2]).exists()


# -- foreign


@pytest.mark.case(36)
def test_36_a_checkpoint_of_another_model(saved: Saved) -> None:
    folder, _ = saved
    Store(folder).save(state(40, outputs=5), 40)
    loaded = Store(folder).load(like=state(0))
    assert loaded is not None
    assert loaded.manifest.step == 30
    assert loaded.remarks == [
        "00004.step-40.manifest: it is of another model: bias is F32 [5] there and F32 [4] here. "
        "Build the model that was saved, or give this one a folder of its own."
    ]
    more = {"model": {**state(0)["model"], "extra": torch.ones(1)}}
    with pytest.raises(NoGoodCheckpoint, match=r"extra is not there and F32 \[1\] here"):
        Store(folder).load(like=more)


def test_other_data_is_refused_and_other_code_is_said(tmp_path: Path) -> None:
    made = Made(code=fingerprint(state), data=fingerprint(torch.ones(3)))
    Store(tmp_path, made=made).save(state(1), 1)
    with pytest.raises(NoGoodCheckpoint, match=r"made with other data .* sampler's place means"):
        Store(tmp_path, made=Made(data=fingerprint(torch.zeros(3)))).load()
    loaded = Store(tmp_path, made=Made(code=fingerprint(flip), data=made.data)).load()
    assert loaded is not None
    assert "it was made by other code" in loaded.remarks[0]


@pytest.mark.case(41)
def test_41_another_world_size_needs_a_word(tmp_path: Path) -> None:
    save_by(Store(tmp_path), 1, size=4)
    with pytest.raises(NoGoodCheckpoint, match=r"by 4 ranks and is read by 3. Load it with resh"):
        Store(tmp_path).load(rank=0, size=3)
    for size in (1, 3, 7):
        for rank in range(size):
            loaded = Store(tmp_path).load(rank, size, reshard=True)
            assert loaded is not None
            assert repr(loaded.state["model"]) == repr(state(1)["model"]), "identical weights"
            assert loaded.left_out == {"random"}
            assert "cut anew from 4 ranks to" in loaded.remarks[0]
    elsewhere = tmp_path / "nothing of its own"
    save_by(Store(elsewhere), 1, size=4, own=False)
    loaded = Store(elsewhere).load(0, 3, reshard=True)
    assert loaded is not None
    assert loaded.remarks == [], "nothing is left out"
    progress = Progress()
    restore({"progress": progress}, {"progress": loaded.state["progress"]}, loaded.left_out)
    assert progress.step == 1


def save_by(store: Store, step: int, size: int, sharded: bool = True, own: bool = True) -> Manifest:
    """What `size` ranks do, one after the other."""
    number, shards = store.next_number(), []
    for rank in range(size):
        random = {"random": {"draws": torch.tensor([rank])}} if own else {}
        snapshot = store.snapshot(state(step) | random, rank, size, sharded)
        snapshot.copy()
        shards.append(store.prepare(snapshot, number, step, rank, size))
    return store.commit(shards[::-1], number, step)


@pytest.mark.parametrize("sharded", [True, False])
def test_every_rank_gets_back_its_own(tmp_path: Path, sharded: bool) -> None:
    made = save_by(Store(tmp_path), 1, size=3, sharded=sharded)
    sizes = [file.bytes for file in made.files]
    if sharded:
        elements = [0, 0, 0]
        for part in made.parts:
            elements[int(part.file.split("rank-")[1][0])] += part.stop - part.start
        assert max(elements) - min(elements) <= 1, "as even as can be"
    else:
        assert sizes[0] > sizes[1] == sizes[2]
    for rank in range(3):
        loaded = Store(tmp_path).load(rank, 3)
        assert loaded is not None
        assert loaded.state["random"]["draws"].item() == rank
        assert repr(loaded.state["model"]) == repr(state(1)["model"])


def test_a_manifest_over_too_few_shards_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    snapshot = store.snapshot(state(1), 0, 2)
    snapshot.copy()
    shard = store.prepare(snapshot, 1, 1, 0, 2)
    with pytest.raises(ValueError, match="a shard is missing"):
        store.commit([shard], 1, 1)
    assert store.load() is None, "never committed, never seen"


# -- cannot be written (32)


def small_disk(folder: Path, *options: str) -> Iterator[Path]:
    """A tmpfs of 256 KB; skips where this user may not mount one."""
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    yield from small_disk(tmp_path)


def large(step: int, size: int = 20_000) -> dict:
    return {"model": {"w": torch.full((size,), float(step))}}


@pytest.mark.case(32)
@pytest.mark.parametrize("size", [20_000, 25_000])
def test_32_a_full_disk(tmpfs: Path, size: int) -> None:
    """Of 80 KB three fit into 256 KB, but for a manifest; of 100 KB a shard does not."""
    store = Store(tmpfs)

    def fill() -> None:
        for step in range(1, 9):
            store.save(large(step, size), step)

    with pytest.raises(CheckpointFailed) as caught:
        fill()
    assert str(tmpfs) in str(caught.value)
    assert "No space left on device" in str(caught.value)
    assert "Free some space there, or keep fewer checkpoints" in str(caught.value)
    steps = [made.step for made in store.manifests()]
    loaded = store.load()
    assert loaded is not None
    assert loaded.manifest.step == steps[-1] == len(steps)
    assert repr(loaded.state) == repr(large(len(steps), size))
    assert not any(path.suffix == ".new" for path in tmpfs.iterdir()), "half a file has gone"
    roomier = Store(tmpfs, Keep(last=1), run=store.folder.run)
    roomier.collect()
    roomier.save(large(9), 9)
    assert [made.step for made in roomier.manifests()] == [9]


@pytest.mark.case(32)
def test_32_a_read_only_mount(tmpfs: Path) -> None:
    store = Store(tmpfs)
    store.save(large(1), 1)
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(tmpfs)], check=True)
    with pytest.raises(CheckpointFailed, match=r"Read-only file system.*Make the folder writable"):
        store.save(large(2), 2)
    loaded = Store(tmpfs).load()
    assert loaded is not None
    assert loaded.manifest.step == 1


@pytest.mark.case(32)
def test_32_a_folder_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.save(state(1), 1)

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(disk_module.RealDisk, "_write_all", refuse)  # root may write anywhere
    with pytest.raises(CheckpointFailed, match=r"Permission denied.*Make the folder writable"):
        store.save(state(2), 2)
    assert [made.step for made in store.manifests()] == [1]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointFailed, match=r"file: loading failed .* a file in its way: give"):
        Store(tmp_path / "file").load()
    with pytest.raises(CheckpointFailed, match="a file in its way"):
        Store(tmp_path / "file" / "below").save(state(1), 1)


@pytest.mark.case(32)
@pytest.mark.parametrize("fails_at", range(1, 4))
def test_32_an_fsync_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """Of the shard, of the folder, of the manifest: none is visible, and the next one is good."""
    store = Store(tmp_path)
    store.save(state(1), 1)
    calls, real = iter(range(1, 100)), disk_module._flush

    def flush(descriptor: int) -> None:
        if next(calls) == fails_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(disk_module, "_flush", flush)
    with pytest.raises(CheckpointFailed, match=r"Input/output error.*use another disk"):
        store.save(state(2), 2)
    assert [made.step for made in store.manifests()] == [1]
    store.save(state(3), 3)
    loaded = store.load()
    assert loaded is not None
    assert (loaded.manifest.step, loaded.remarks) == (3, [])


@pytest.mark.case(36)
def test_36_a_shard_that_the_disk_does_not_give_is_like_a_damaged_one(saved: Saved) -> None:
    """As with a bad sector: the error is of reading, and the older one lies elsewhere."""
    folder, made = saved
    shard(folder, made[-1]).unlink()
    shard(folder, made[-1]).mkdir()
    loaded = Store(folder).load()
    assert loaded is not None
    assert loaded.manifest.step == 20
    (said,) = loaded.remarks
    assert re.search(rf"{made[-1].name}: it cannot be read \(.*{made[-1].files[0].name}", said)


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    """A slip of the pen in a path leaves nothing behind."""
    nowhere = tmp_path / "not" / "there"
    store = Store(nowhere)
    assert store.load() is None
    assert (store.manifests(), store.in_doubt(), store.next_number()) == ([], {}, 1)
    assert not nowhere.parent.exists()
