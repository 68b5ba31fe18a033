"""A disk of a simulated machine, byte by byte: `labkit.disk.Disk` with a power plug.

What is not synced when the power fails survives in sectors, each of them or not, as the seed draws:
writes are lost, torn, or done in another order than they were asked for; a file may have its new
length and zeros in it. Names change in a cache of their own until `fsync_dir`, and there too any of
the changes may be lost. That is more than one file system does, and all that POSIX allows
(T. Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).

After a failed fsync it behaves as Linux does: the data stay in the cache, where reads show them,
the next fsync reports success, and they never reach the disk (A. Rebello et al., "Can Applications
Recover from fsync Failures?", USENIX ATC 2020).
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

from labkit.disk import DiskFailure

SECTOR = 16
"""Bytes that are written all or not at all. Real ones have 512: small ones tear small records."""


class PowerFailure(Exception):
    """The power failed during an operation: nothing after it happens."""


class _File:
    """`cached` is what reads show, `durable` what is on the platter. `dirty` are the writes that
    were not synced yet, as (place, data), and (0, None) where the file was emptied."""

    def __init__(self) -> None:
        self.cached, self.durable = bytearray(), bytearray()
        self.dirty: list[tuple[int, bytes | None]] = []

    def empty(self) -> None:
        self.cached = bytearray()
        self.dirty.append((0, None))

    def append(self, data: bytes) -> None:
        self.dirty.append((len(self.cached), data))
        self.cached += data

    def sync(self) -> None:
        for at, data in self.dirty:
            self._reach_platter(at, data)
        self.dirty = []

    def lose_power(self, draw: random.Random) -> None:
        """Of what is dirty some sectors have got to the platter: all, none, or some of them."""
        share = draw.choice((0.0, 0.5, 0.9, 1.0))
        for at, data in self.dirty:
            for i in range(0, len(data) if data else 1, SECTOR):
                if draw.random() < share:
                    self._reach_platter(at + i, data and data[i : i + SECTOR])
        self.cached, self.dirty = bytearray(self.durable), []

    def _reach_platter(self, at: int, data: bytes | None) -> None:
        if data is None:
            self.durable = bytearray()
        else:
            self.durable.extend(bytes(max(0, at - len(self.durable))))  # a hole reads as zeros
            self.durable[at : at + len(data)] = data


class SimulatedDisk:
    """`operations` counts what has been asked of it that changes it. At operation number `fails_at`
    (from 1) the power fails: that operation is under way, none comes after it.

    `fail_fsync` and `full` say what the next operations meet; `lying` is a disk that reports every
    sync as done and does nothing.
    """

    def __init__(self, seed: int | str = 0, fails_at: int | None = None) -> None:
        self.draw = random.Random(f"{seed}/disk")
        self.operations, self.fails_at = 0, fails_at
        self.fail_fsync = self.full = self.lying = False
        self._names: dict[str, _File] = {}  # as programs see them
        self._durable: dict[str, _File] = {}
        self._changes: list[Callable[[dict[str, _File]], object]] = []  # names, not synced yet

    # -- what `Disk` offers

    def write(self, name: str, data: bytes | memoryview) -> None:
        self._begin()
        self._made(name).empty()
        self._fill(name, bytes(data))
        self._end()

    def append(self, name: str, data: bytes | memoryview) -> None:
        self._begin()
        self._made(name)
        self._fill(name, bytes(data))
        self._end()

    def read(self, name: str) -> bytes:
        return bytes(self._find(name).cached)

    def size(self, name: str) -> int:
        return len(self._find(name).cached)

    def fsync(self, name: str) -> None:
        file = self._find(name)
        self._begin()
        if self.fail_fsync:
            self.fail_fsync, file.dirty = False, []  # clean now, as the kernel believes
            raise DiskFailure(errno.EIO, f"{name}: fsync failed; what was written is lost")
        self._end()  # what a power failure leaves of it is drawn later
        if not self.lying:
            file.sync()

    def rename(self, old: str, new: str) -> None:
        file = self._find(old)
        self._begin()

        def change(names: dict[str, _File]) -> None:
            names.pop(old, None)
            names[new] = file

        self._change(change)
        self._end()

    def fsync_dir(self) -> None:
        self._begin()
        self._end()
        if not self.lying:
            self._durable, self._changes = dict(self._names), []

    def list(self) -> list[str]:
        return sorted(self._names)

    def unlink(self, name: str) -> None:
        self._find(name)
        self._begin()
        self._change(lambda names: names.pop(name, None))
        self._end()

    def close(self) -> None:
        """Nothing is open here: the machine's next program finds the same disk."""

    # -- what happens to it

    def lose_power(self) -> None:
        """Caches are gone; what is left is what a machine finds when the power is back."""
        share = self.draw.choice((0.0, 0.5, 1.0))
        for change in self._changes:
            if self.draw.random() < share:
                change(self._durable)
        files = {id(file): file for file in (*self._names.values(), *self._durable.values())}
        for file in files.values():
            file.lose_power(self.draw)
        self._names, self._changes = dict(self._durable), []
        self.fail_fsync = self.full = self.lying = False
        self.fails_at = None

    def corrupt(self, name: str, at: int) -> None:
        """A bit of a durable byte turns over."""
        file = self._find(name)
        file.cached[at] ^= 1
        file.durable[at] ^= 1

    def wipe(self) -> None:
        """Another disk, empty, takes its place."""
        self._names, self._durable, self._changes = {}, {}, []

    # -- inside

    def _find(self, name: str) -> _File:
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, f"there is no file {name!r} on this disk")
        return self._names[name]

    def _change(self, change: Callable[[dict[str, _File]], object]) -> None:
        change(self._names)
        self._changes.append(change)

    def _made(self, name: str) -> _File:
        if name not in self._names:
            file = _File()
            self._change(lambda names: names.__setitem__(name, file))
        return self._names[name]

    def _fill(self, name: str, data: bytes) -> None:
        if self.full:
            self._names[name].append(data[: self.draw.randrange(len(data) + 1)])
            raise DiskFailure(errno.ENOSPC, f"{name}: no space left: free some, and restart")
        self._names[name].append(data)

    def _begin(self) -> None:
        if self.fails_at is not None and self.operations >= self.fails_at:
            raise PowerFailure("the power is off")
        self.operations += 1

    def _end(self) -> None:
        if self.operations == self.fails_at:
            raise PowerFailure(f"the power failed during operation {self.operations}")
