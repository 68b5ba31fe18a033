"""A second home for checkpoints: the local disk first, then an object store in the background.

An object store has no rename and no fsync: an object is there as a whole when its PUT has returned.
So the order alone makes a checkpoint appear at once: the shards first, the manifest last. What an
upload that was cut half-way has left is not seen, and the next one need not send it again.

    bucket = Bucket("s3://bucket/run")            # any file system that fsspec knows
    checkpointer = Checkpointer(store, pieces, uploader=Uploader(store, bucket, Keep(last=5)))
    fetch(bucket, store)                          # on a machine that has lost its disk
"""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec.core

from labkit import events, faults
from labkit.checkpoint.files import publish
from labkit.checkpoint.folder import CheckpointFailed
from labkit.checkpoint.load import Loaded
from labkit.checkpoint.manifest import Manifest, to_bytes
from labkit.checkpoint.retention import Keep
from labkit.checkpoint.store import LATEST, Store
from labkit.disk import DiskFailure


class UploadFailed(Exception):
    """A checkpoint did not get into the object store; it is safe on the local disk."""


class Bucket:
    """A folder of an object store as a `Disk`, as far as that goes: a `Store` can read and collect
    garbage there, and `put` writes. `options` are those of the fsspec file system."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.fs, self.path = fsspec.core.url_to_fs(url, **options)

    def put(self, name: str, local: str) -> None:
        """Sends the file `local`; durable, and visible, when this returns. Raises FileNotFoundError
        when there is no such file."""
        try:
            self._make(name, lambda: self.fs.put_file(local, self._at(name)))
        except DiskFailure as error:
            if not Path(local).exists():
                raise FileNotFoundError(local) from error
            raise

    def write(self, name: str, data: bytes | memoryview) -> None:
        self._make(name, lambda: self.fs.pipe_file(self._at(name), bytes(data)))

    def read(self, name: str) -> bytes:
        with self._acting("get", name):
            data: bytes = self.fs.cat_file(self._at(name))
        return data

    def size(self, name: str) -> int:
        with self._acting("get", name):
            return int(self.fs.size(self._at(name)))

    def list(self) -> list[str]:
        with self._acting("list", ""):
            self.fs.invalidate_cache()
            try:
                found = self.fs.ls(self.path, detail=False)
            except FileNotFoundError:  # a folder without objects does not exist
                return []
        return sorted(name.rsplit("/", 1)[-1] for name in found)

    def unlink(self, name: str) -> None:
        with self._acting("delete", name):
            self.fs.rm_file(self._at(name))

    def append(self, name: str, data: bytes | memoryview) -> None:
        raise DiskFailure(errno.ENOTSUP, f"{self.url}: an object is put as a whole")

    def rename(self, old: str, new: str) -> None:
        raise DiskFailure(errno.ENOTSUP, f"{self.url}: an object has one name")

    def fsync(self, name: str) -> None:
        """PUT has returned: nothing is left to do."""

    def fsync_dir(self) -> None:
        """Names are durable with their objects."""

    def close(self) -> None:
        """The file system keeps its own connections."""

    def _at(self, name: str) -> str:
        return f"{self.path}/{name}"

    def _make(self, name: str, act: Callable[[], Any]) -> None:
        """Of a file system that has folders the bucket's is made first."""
        try:
            with self._acting("put", name):
                try:
                    act()
                except FileNotFoundError:
                    self.fs.makedirs(self.path, exist_ok=True)
                    act()
        except FileNotFoundError as error:
            said = f"{self.url}/{name}: put failed ({error})"
            raise DiskFailure(errno.ENOENT, said) from error

    @contextlib.contextmanager
    def _acting(self, what: str, name: str) -> Iterator[None]:
        """Every file system has exceptions of its own."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DiskFailure(errno.EIO, f"{self.url}/{name}: {what} failed ({said})") from error


def upload(store: Store, bucket: Bucket, made: Manifest) -> list[str]:
    """Sends what the bucket does not have of a checkpoint; returns the names that were sent.

    Raises UploadFailed, and FileNotFoundError when `store` has collected the checkpoint meanwhile.
    """
    folder = store.folder.path
    assert folder is not None, "only a folder of files can be uploaded"
    try:
        there, sent = set(bucket.list()), []
        for file in made.files:
            if file.name not in there or bucket.size(file.name) != file.bytes:
                faults.point("checkpoint.upload")
                bucket.put(file.name, str(folder / file.name))
                sent.append(file.name)
        faults.point("checkpoint.upload")
        bucket.write(made.name, to_bytes(made))
        bucket.write(LATEST, f"{made.name}\n".encode())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UploadFailed(
            f"step {made.step} is not in the object store: {error.strerror}. It is safe in "
            f"{folder}; what is missing is sent with the next checkpoint, or by upload(store, "
            "bucket, store.manifests()[-1])."
        ) from error
    events.record("note", "uploaded", step=made.step, files=len(sent))
    return [*sent, made.name]


def fetch(bucket: Bucket, store: Store, **wanted: Any) -> Loaded | None:
    """Brings the newest good checkpoint of the bucket into the folder of `store`, and loads it.

    `wanted` is as for `Store.load`, which also says what is raised. The numbers of further
    checkpoints go on from there, so that the bucket's newest stays the newest.
    """
    there = Store(bucket, made=store.made)
    loaded = there.load(**wanted)
    # Also of those that are not good: a file in the bucket under the name of a new one, and of its
    # length, would be taken for it, and not be sent again.
    store.floor = max(store.floor, there.next_number())
    if loaded is not None:
        with store.folder.writing("bringing a checkpoint back") as disk:
            for file in loaded.manifest.files:
                publish(disk, file.name, [bucket.read(file.name)])
            publish(disk, loaded.manifest.name, [to_bytes(loaded.manifest)])
        store.point_to(loaded.manifest)
    return loaded


class Uploader:
    """A thread that sends the newest checkpoint; one that was overtaken is not sent any more.

    `keep` says what stays in the bucket. The training thread calls `check`, which raises what went
    wrong (UploadFailed), once, and `close` at the end: a process that ends without it leaves
    unsent what is not sent yet.
    """

    def __init__(self, store: Store, bucket: Bucket, keep: Keep | None = None) -> None:
        self.store, self.bucket = store, bucket
        self.remote = Store(bucket, keep or Keep())
        self.uploaded: Manifest | None = None
        self._changed = threading.Condition()
        self._next: Manifest | None = None
        self._closing = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)
        self._thread.start()

    def offer(self, made: Manifest) -> None:
        """In place of one that waits; returns at once."""
        with self._changed:
            self._next = made
            self._changed.notify()

    def check(self) -> None:
        """Raises UploadFailed for the last upload that failed, once."""
        with self._changed:
            error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Sends the last one that was offered, then ends. Raises UploadFailed."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self.check()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next or self._closing)
                made, self._next = self._next, None
            if made is None:
                return
            try:
                upload(self.store, self.bucket, made)
                self.remote.collect()
                self.uploaded = made
            except FileNotFoundError:
                events.record("note", "a newer checkpoint has taken its place", step=made.step)
            except (UploadFailed, CheckpointFailed) as error:
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
