"""The durable-storage seam: what a program may ask of a disk, and what the disk promises.

A write is in the kernel's cache until `fsync` of that file returns; a name (of a new file, or after
a rename) is in the cache until `fsync_dir` returns. When the power fails, what was only in the
cache is there, or not there, or there in part, in any order (T. Pillai et al., "All File Systems
Are Not Created Equal", OSDI 2014). `labkit.simulator.disk` plays all of that; here it is the real
thing, where SIGKILL alone never shows a missing fsync.

A failed fsync is never tried again: Linux forgets which pages it could not write, so that the next
fsync succeeds and the data are gone all the same (A. Rebello et al., "Can Applications Recover from
fsync Failures?", USENIX ATC 2020). The node stops; its next life reads what is really there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from labkit import faults


class DiskFailure(OSError):
    """A disk did not do what it was asked: the node stops, since it cannot know what is there."""


class Disk(Protocol):
    """One folder of files with plain names. Every method may raise `DiskFailure`.

    `read`, `size` and `unlink` of a file that is not there raise FileNotFoundError.
    """

    def write(self, name: str, data: bytes | memoryview) -> None:
        """The file holds `data` and nothing else; not durable yet, and neither is its name."""

    def append(self, name: str, data: bytes | memoryview) -> None:
        """`data` comes after what is there; not durable yet."""

    def read(self, name: str) -> bytes: ...

    def size(self, name: str) -> int: ...

    def fsync(self, name: str) -> None:
        """What has been written to the file is durable when this returns."""

    def rename(self, old: str, new: str) -> None:
        """At once, over any file of that name; not durable yet."""

    def fsync_dir(self) -> None:
        """All names are durable when this returns."""

    def list(self) -> list[str]:
        """The names, sorted."""

    def unlink(self, name: str) -> None:
        """The name is gone; not durable yet."""

    def close(self) -> None:
        """Lets go of all files: this object is not used any more."""


class RealDisk:
    """A folder of this machine, made if it is not there, or, where `make` is False, taken for an
    empty one: who only reads leaves nothing behind. Faults may strike at the points
    disk.write, disk.append, disk.fsync, disk.rename, disk.fsync_dir and disk.unlink, each before
    the act.

    A file stays open from its first write on: an error of the disk is told only to descriptors that
    were open when it happened. One thread at a time uses it.
    """

    def __init__(self, folder: str | os.PathLike[str], make: bool = True) -> None:
        self.folder = Path(folder)
        self._open: dict[str, int] = {}
        self._failed = ""
        self._directory = -1
        if make:
            make_durable(self.folder)
        elif not self.folder.exists():
            return
        with self._acting("open", ""):
            self._directory = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def write(self, name: str, data: bytes | memoryview) -> None:
        faults.point("disk.write")
        with self._acting("write", name):
            self._forget(name)
            self._write_all(self._descriptor(name, os.O_TRUNC), data)

    def append(self, name: str, data: bytes | memoryview) -> None:
        faults.point("disk.append")
        with self._acting("write", name):
            self._write_all(self._descriptor(name), data)

    def read(self, name: str) -> bytes:
        with self._acting("read", name):
            return (self.folder / name).read_bytes()

    def size(self, name: str) -> int:
        with self._acting("read", name):
            return (self.folder / name).stat().st_size

    def fsync(self, name: str) -> None:
        faults.point("disk.fsync")
        with self._acting("fsync", name):
            _flush(self._descriptor(name))

    def rename(self, old: str, new: str) -> None:
        faults.point("disk.rename")
        with self._acting("rename", old):
            os.replace(self.folder / old, self.folder / new)
            self._forget(new)
            if old in self._open:
                self._open[new] = self._open.pop(old)

    def fsync_dir(self) -> None:
        faults.point("disk.fsync_dir")
        with self._acting("fsync", ""):
            _flush(self._directory)

    def list(self) -> list[str]:
        if self._directory < 0:
            return []
        with self._acting("read", ""):
            return sorted(os.listdir(self.folder))

    def unlink(self, name: str) -> None:
        faults.point("disk.unlink")
        with self._acting("unlink", name):
            os.unlink(self.folder / name)
            self._forget(name)

    def close(self) -> None:
        for name in list(self._open):
            self._forget(name)
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def _descriptor(self, name: str, more: int = 0) -> int:
        if name not in self._open:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | more
            self._open[name] = os.open(self.folder / name, flags, 0o644)
        return self._open[name]

    def _forget(self, name: str) -> None:
        if name in self._open:
            os.close(self._open.pop(name))

    @staticmethod
    def _write_all(descriptor: int, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:  # a full disk may take a part of it first
            rest = rest[os.write(descriptor, rest) :]

    @contextlib.contextmanager
    def _acting(self, what: str, name: str) -> Iterator[None]:
        """After a failed fsync nothing is done any more: what is in the cache may never have been
        written, and reads would show it."""
        if self._failed:
            raise DiskFailure(errno.EIO, f"{self._failed} It is not used any more in this life")
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            said = f"{self.folder / name}: {what} failed ({error.strerror}). "
            said += _advice(what, error.errno)
            if what == "fsync":
                self._failed = said
            raise DiskFailure(error.errno, said) from error


def make_durable(folder: Path) -> None:
    """Makes the folder, and those above it, so that they outlive a power failure: what is synced
    inside a folder whose own name is lost is lost with it."""
    if folder.is_dir():
        return
    make_durable(folder.parent)
    folder.mkdir(exist_ok=True)
    parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _flush(parent)
    finally:
        os.close(parent)


def _flush(descriptor: int) -> None:
    if sys.platform == "darwin":  # there, fsync alone leaves the data in the drive's own cache
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def _advice(what: str, number: int | None) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space there, then restart this node: it goes on from what is durable."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Make the folder writable for this user, then restart this node."
    if what == "fsync":
        return (
            "What was written last may be lost, and trying again would hide it: restart this "
            "node, which reads what is there; if it happens again, replace the disk."
        )
    return "Restart this node; if it happens again, replace the disk."
