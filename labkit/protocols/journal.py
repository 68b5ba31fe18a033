"""A write-ahead log of `Persist` records on a `Disk`: what a node had made durable, it finds again.

    record = number (4 bytes) | length (4) | CRC-32 of number, length and payload (4) | payload

Each record is one append and one fsync, so that a power failure can damage the last record only.
Reading it back therefore knows two kinds of damage:

- a bad record with nothing whole behind it is the *torn tail* of a write that was never reported
  as done: it is cut off;
- a bad record with a whole one behind it was durable once, and the disk has lost it. To cut there
  would silently take back votes and log entries that others rely on, so the node refuses to start
  (R. Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018).

(A durable *last* record that goes bad later looks like a torn tail: only other nodes can tell.)

The first record of a file holds everything up to it, and was whole before the file got its name. A
file that has grown is replaced by one with such a record alone, and so is every file that is read
at a start: what was read may be no more than what the kernel remembers of a write that failed
(A. Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from labkit.disk import Disk
from labkit.protocols.codec import decoder, encode
from labkit.protocols.effects import Splice, Stored, store

GROWN = 1 << 20
"""Bytes from which on a file is replaced, once it is also four times what it was at its start."""

_HEADER = struct.Struct("<III")


class JournalDamaged(Exception):
    """A record that was durable once cannot be read: this disk must not be used to vote."""


class Journal:
    """`stored` is what has been persisted; where there is no journal yet, it begins as `first`.
    `types` says of what type a value is; of a sequence (a `Stored`), what its items are. A value
    without a type comes back as plain data.

    Raises `JournalDamaged`, or `DiskFailure` after which it must not be used any more.
    """

    def __init__(
        self,
        disk: Disk,
        name: str = "journal",
        types: Mapping[str, Any] | None = None,
        first: Mapping[str, Any] | None = None,
        grown: int = GROWN,
    ) -> None:
        self.disk, self.name, self.grown = disk, name, grown
        self.stored: dict[str, Any] = {}
        self._number = 0  # of the last record
        self._codec = Codec(types or {})
        if name in disk.list():
            for number, payload in records(disk.read(name), name):
                store(self.stored, self._codec.decode(payload))
                self._number = number
        else:
            store(self.stored, first or {})
        self.compact()

    def append(self, values: Mapping[str, Any]) -> None:
        """`values` are durable when this returns: all of them, or none if the power fails."""
        record = self._record(values)
        self.disk.append(self.name, record)
        self.disk.fsync(self.name)
        store(self.stored, values)
        self._size += len(record)
        if self._size > max(self.grown, 4 * self._folded):
            self.compact()

    def compact(self) -> None:
        """Replaces the file by one whose only record holds all that is stored."""
        record = self._record(self.stored)
        new = self.name + ".new"
        self.disk.write(new, record)
        self.disk.fsync(new)  # before the rename: else the name may come to stand for nothing
        self.disk.rename(new, self.name)
        self.disk.fsync_dir()  # before the next append, which the old file would not have
        self._size = self._folded = len(record)

    def _record(self, values: Mapping[str, Any]) -> bytes:
        self._number += 1
        return framed(self._number, self._codec.encode(values))


# -- bytes


def framed(number: int, payload: bytes) -> bytes:
    return _HEADER.pack(number, len(payload), _check(number, payload)) + payload


def _check(number: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<II", number, len(payload))))


def _whole(data: bytes, at: int) -> tuple[int, bytes] | None:
    """Number and payload of the record that begins there; None unless all of it is right."""
    if len(data) < at + _HEADER.size:
        return None
    number, length, check = _HEADER.unpack_from(data, at)
    begin = at + _HEADER.size
    payload = data[begin : begin + length]
    right = len(payload) == length and check == _check(number, payload)
    return (number, payload) if right else None


def records(data: bytes, name: str = "journal") -> Iterator[tuple[int, bytes]]:
    """Number and payload of each record up to the end or to a torn tail. Raises JournalDamaged."""
    at, last = 0, None
    while found := _whole(data, at):
        number, payload = found
        if last is not None and number != last + 1:
            raise _damaged(name, f"record {number} follows record {last}")
        yield found
        last, at = number, at + _HEADER.size + len(payload)
    if last is None:
        raise _damaged(name, "the first record is bad")
    for later in range(at + 1, len(data)):
        if beyond := _whole(data, later):
            what = f"record {last + 1} is bad, and record {beyond[0]} behind it is whole"
            raise _damaged(name, what)


def _damaged(name: str, what: str) -> JournalDamaged:
    return JournalDamaged(
        f"{name}: {what}. What was durable is lost: no crash does that, the disk did or somebody's "
        "hand. This node must not vote again with this disk: move the file away, and let a new "
        "member take its place"
    )


# -- values


class Codec:
    """The values of a `Persist` as msgpack: (name, kind, start, value) for each of them."""

    PLAIN, SPLICE, STORED = range(3)
    _outer = decoder(list[tuple[str, int, int, msgspec.Raw]])

    def __init__(self, types: Mapping[str, Any]) -> None:
        self._one = {name: decoder(kind) for name, kind in types.items()}
        self._many = {name: decoder(list[kind]) for name, kind in types.items()}  # type: ignore[valid-type]
        self._any = decoder(Any)

    def encode(self, values: Mapping[str, Any]) -> bytes:
        return encode([self._row(name, value) for name, value in values.items()])

    def _row(self, name: str, value: Any) -> tuple[str, int, int, Any]:
        if type(value) is Splice:
            return name, self.SPLICE, value.start, value.items
        if type(value) is Stored:
            return name, self.STORED, value.first, value.items
        return name, self.PLAIN, 0, value

    def decode(self, payload: bytes) -> dict[str, Any]:
        return dict(self._values(self._outer.decode(payload)))

    def _values(self, rows: Iterable[tuple[str, int, int, Any]]) -> Iterator[tuple[str, Any]]:
        for name, kind, start, raw in rows:
            if kind == self.PLAIN:
                yield name, self._one.get(name, self._any).decode(raw)
            else:
                items = self._many.get(name, self._any).decode(raw)
                is_splice = kind == self.SPLICE
                yield name, Splice(start, tuple(items)) if is_splice else Stored(start, items)
