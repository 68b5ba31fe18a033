"""What a real node was given to handle, written down so that the model can be given the same.

A node's file begins a life with `Begun` (its random numbers come from `seed` alone) and has one
`Handled` for each handler, written before the first of its effects happens: of a life that was
killed, the last one's effects happened up to some point that nobody knows.
`labkit.simulator.replay` reads these files.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from labkit.protocols.effects import Effect, Persist, Record

Kind = Literal["start", "message", "timer", "suspect", "trust", "worked"]


class Begun(Struct, frozen=True, tag=True, array_like=True):
    """`stored` is what the journal gave back, as `labkit.protocols.journal.Codec` writes it."""

    now: float
    node: int
    life: int
    members: tuple[int, ...]
    seed: str
    stored: bytes


class Handled(Struct, frozen=True, tag=True, array_like=True):
    """`what` is a message as bytes; of a timer, its name and key. `peer` is the number that came
    with the host's word, if any; `effects` is their `digest`."""

    now: float
    kind: Kind
    peer: int | None
    what: bytes
    effects: int


class HandledLog:
    """One system call an entry, so that SIGKILL loses none."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o644)

    def write(self, entry: Begun | Handled) -> None:
        body = _encode(entry)
        os.write(self._file, len(body).to_bytes(4, "big") + body)

    def close(self) -> None:
        os.close(self._file)


def read(path: str | os.PathLike[str]) -> Iterator[Begun | Handled]:
    """The entries of a file; one that was cut off at its end is left out."""
    data, at = Path(path).read_bytes(), 0
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            return
        yield _decode(data[at + 4 : end])
        at = end


def digest(effects: Iterable[Effect]) -> int:
    """Equal for equal effects, in any process."""
    return zlib.crc32(_encode_effects(list(effects)))


def _plain(value: Any) -> Any:
    if isinstance(value, Persist):
        return value.values
    if isinstance(value, Record):
        return [value.kind, value.name, value.data]
    return repr(value)


_encode = msgspec.msgpack.Encoder().encode
_encode_effects = msgspec.msgpack.Encoder(enc_hook=_plain, order="deterministic").encode
_decode = msgspec.msgpack.Decoder(Begun | Handled).decode
