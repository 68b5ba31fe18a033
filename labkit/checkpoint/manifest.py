"""The manifest: which files and which bytes a checkpoint is. It is there, or the checkpoint is not.

A checkpoint's files get their names one after the other, so that after a crash some are there and
others are not. The manifest is written last, when all of them are durable, and its own rename is
the moment at which the whole checkpoint becomes visible, at once. Files without a manifest are the
remains of an attempt and are never read.

    labkit checkpoint, format 1, xxh3_128 5f0c…        ← of all the bytes below this line
    {"number": 7, "step": 100, "world_size": 4, …}     ← JSON, to be read by people too
"""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec
import torch
import xxhash

import labkit

FORMAT = 1
"""Version of all that a checkpoint's files look like. It changes when an older reader would err."""

Bytes = bytes | bytearray | memoryview


class BadCheckpoint(Exception):
    """A checkpoint, or a file of one, cannot be used: the sentence names file and reason."""


def checksum(data: Bytes) -> str:
    """XXH3 of 128 bits, in hexadecimal. It finds damage at the speed of memory (30 GB/s, where
    SHA-256 makes 1.5), and no two tensors that occur have the same; an enemy could forge it."""
    return xxhash.xxh3_128_hexdigest(data)


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Elements `start` to `stop` of the tensor `name` of `shape`, counted in its flat order.

    They stand in `file` under `key` (as safetensors names them), with the checksum `hash`. A file
    of an older checkpoint means that this tensor has not changed since.
    """

    name: str
    dtype: str  # as safetensors has it: F32, BF16, I64, …
    shape: tuple[int, ...]
    start: int
    stop: int
    hash: str
    file: str

    @property
    def key(self) -> str:
        """Its name inside the file: a whole tensor has its own."""
        whole = self.start == 0 and self.stop == self.elements
        return self.name if whole else f"{self.name}[{self.start}:{self.stop}]"

    @property
    def elements(self) -> int:
        """Of the whole tensor."""
        count = 1
        for length in self.shape:
            count *= length
        return count


class File(msgspec.Struct, frozen=True):
    """A shard as it lies on the disk: its length in bytes, and the checksum of its header, which
    has the names, the places of all tensors, and the plain part of the state."""

    name: str
    bytes: int
    header: str
    packed: str = ""  # "zstd", or as it is


class Shard(msgspec.Struct, frozen=True):
    """What one rank has made durable: what it votes on. Its own file comes first, then older ones
    that it refers to."""

    rank: int
    files: tuple[File, ...]
    parts: tuple[Part, ...]


class Made(msgspec.Struct, frozen=True):
    """By what a checkpoint was made: fingerprints of code and data, versions of the software."""

    code: str = ""
    data: str = ""
    versions: dict[str, str] = {}


def versions() -> dict[str, str]:
    """Of what reads and writes the state; kept in the manifest for those who wonder later."""
    return {
        "labkit": labkit.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


class Prepared(msgspec.Struct, frozen=True):
    """What a rank writes down, next to its shard, before it votes yes: all that anybody needs to
    commit the attempt later, also when the coordinator and this rank are dead."""

    number: int
    step: int
    world_size: int
    made: Made
    metrics: dict[str, float]
    shard: Shard


class Manifest(msgspec.Struct, frozen=True):
    """`number` counts the attempts in a folder and grows for ever: the newest checkpoint has the
    largest, also when a run went back and its `step` is smaller."""

    number: int
    step: int
    world_size: int
    made: Made
    metrics: dict[str, float]
    files: tuple[File, ...]
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        return manifest_name(self.number, self.step)

    def files_needed(self) -> set[str]:
        """Of this checkpoint and, when it is incremental, of older ones."""
        return {file.name for file in self.files}


def finite(metrics: Mapping[str, float] | None) -> dict[str, float]:
    """The metrics that are numbers. JSON has no NaN: a manifest with one could not be read again;
    and the loss of a step that was left out must not count as the best."""
    return {name: value for name, value in (metrics or {}).items() if math.isfinite(value)}


def assemble(
    number: int,
    step: int,
    shards: Iterable[Shard],
    made: Made,
    metrics: Mapping[str, float] | None = None,
) -> Manifest:
    """The manifest over the shards of all ranks, in any order. Raises ValueError when the ranks do
    not cover every element of every tensor exactly once."""
    shards = sorted(shards, key=lambda shard: shard.rank)
    parts = tuple(part for shard in shards for part in shard.parts)
    files = tuple({file.name: file for shard in shards for file in shard.files}.values())
    covered: dict[str, int] = {}
    for part in sorted(parts, key=lambda part: (part.name, part.start)):
        if covered.get(part.name, 0) != part.start:
            raise ValueError(f"no rank, or more than one, has all of {part.name} before {part.key}")
        covered[part.name] = part.stop
    short = [part.name for part in parts if covered[part.name] != part.elements]
    if short:
        raise ValueError(f"no rank has the end of {short[0]}: a shard is missing")
    return Manifest(number, step, len(shards), made, finite(metrics), files, parts)


# -- names: "00007.step-100.manifest", "00007.step-100.rank-1-of-4.safetensors"

_NAME = re.compile(
    r"(?P<number>\d{5,})\.step-(?P<step>\d+)"
    r"\.(manifest|rank-(?P<rank>\d+)-of-(?P<size>\d+)\.(safetensors(\.zst)?|prepared))"
    r"((\.[\w-]+)?\.new)?"
)


def manifest_name(number: int, step: int) -> str:
    return f"{number:05}.step-{step}.manifest"


def shard_name(number: int, step: int, rank: int, size: int, packed: str = "") -> str:
    ending = ".zst" if packed else ""
    return f"{number:05}.step-{step}.rank-{rank}-of-{size}.safetensors{ending}"


def prepared_name(number: int, step: int, rank: int, size: int) -> str:
    return f"{number:05}.step-{step}.rank-{rank}-of-{size}.prepared"


def rank_of(name: str) -> int | None:
    """Whose file it is; None for a manifest, and for a file that is none of ours."""
    found = _NAME.fullmatch(name)
    return int(found["rank"]) if found and found["rank"] else None


def number_of(name: str) -> int | None:
    """Of the checkpoint that a file belongs to; None for a file that is none of ours."""
    found = _NAME.fullmatch(name)
    return int(found["number"]) if found else None


# -- bytes

T = TypeVar("T", Manifest, Prepared)

_FIRST = re.compile(rb"labkit checkpoint, format (\d+)(?:, xxh3_128 ([0-9a-f]{32}))?\n")


def to_bytes(value: Manifest | Prepared) -> bytes:
    """Readable, with a first line that says the format and the checksum of the rest."""
    body = _readable(msgspec.to_builtins(value)).encode()
    return f"labkit checkpoint, format {FORMAT}, xxh3_128 {checksum(body)}\n".encode() + body


def _readable(fields: dict[str, Any]) -> str:
    """JSON with a line for each field, file and part."""
    rows = []
    for name, value in fields.items():
        text = json.dumps(value)
        if isinstance(value, list | tuple):
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "]"
        rows.append(f' "{name}": {text}')
    return "{\n" + ",\n".join(rows) + "\n}\n"


def from_bytes(data: bytes, name: str, kind: type[T]) -> T:
    """Raises BadCheckpoint with what is wrong with the file called `name`."""
    first = _FIRST.match(data)
    if first is None:
        raise BadCheckpoint(f"{name}: this is no manifest, its first line is not one's.")
    if int(first[1]) != FORMAT:
        when = "an older" if int(first[1]) < FORMAT else "a newer"
        raise BadCheckpoint(
            f"{name}: it has format {int(first[1])}, of {when} labkit; this one reads format "
            f"{FORMAT}. Read it with the labkit that wrote it, and export it (`interop.py`)."
        )
    body = data[first.end() :]
    if first[2] is None or checksum(body) != first[2].decode():
        raise BadCheckpoint(
            f"{name}: its bytes are not those that were written. Bring it back from a copy, or use "
            "an older checkpoint."
        )
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise BadCheckpoint(f"{name}: it cannot be understood ({error}).") from error
