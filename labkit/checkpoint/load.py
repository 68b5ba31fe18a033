"""Reading one checkpoint: every byte is checked against the manifest before it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from torch import Tensor

from labkit import events
from labkit.checkpoint.manifest import (
    BadCheckpoint,
    File,
    Made,
    Manifest,
    Part,
    from_bytes,
    number_of,
    shard_name,
)
from labkit.checkpoint.packing import unpacked
from labkit.checkpoint.shards import ADVICE, Content, dtype_name, join, read
from labkit.checkpoint.state import OWN
from labkit.checkpoint.tree import flatten, unflatten
from labkit.disk import Disk


class NoGoodCheckpoint(Exception):
    """There are checkpoints, and none of them can be used; the sentences say why not."""


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that was read, and what a person should know about how it came to be chosen."""

    manifest: Manifest
    state: dict[str, Any]
    remarks: list[str]

    @property
    def left_out(self) -> frozenset[str]:
        """The pieces that could not be given to another number of ranks, for `restore`."""
        return OWN - self.state.keys()


@dataclass(frozen=True)
class Wanted:
    """Who asks for a checkpoint: `rank` of `size`, with the model of the state `like`, the code and
    the data of `made`. Where one of these is not known, any will do."""

    rank: int = 0
    size: int = 1
    reshard: bool = False
    made: Made = field(default_factory=Made)
    like: Mapping[str, Any] | None = None


def newest(disk: Disk, wanted: Wanted) -> Loaded | None:
    """The newest checkpoint on the disk that is good and fits; see `Store.load`."""
    names = [name for name in disk.list() if name.endswith(".manifest")]
    names.sort(key=lambda name: number_of(name) or 0, reverse=True)
    remarks: list[str] = []
    for name in names:
        try:
            made = from_bytes(disk.read(name), name, Manifest)
            more = [*same_training(made, wanted), *same_ranks(made, wanted)]
            state = load_one(disk, made, wanted)
        except BadCheckpoint as error:
            remarks.append(str(error))
        except FileNotFoundError:
            remarks.append(f"{name}: it was removed while it was read.")
        except OSError as error:  # a bad sector, say: an older one may lie where the disk is good
            remarks.append(f"{name}: it cannot be read ({error.strerror or error}).")
        else:
            remarks += more
            for remark in remarks:
                events.record("note", remark)
            return Loaded(made, state, remarks)
    if remarks:
        end = "Nothing of it was deleted. To begin anew, give a folder of its own."
        raise NoGoodCheckpoint("\n".join(["no checkpoint can be used.", *remarks, end]))
    return None


def load_one(disk: Disk, made: Manifest, wanted: Wanted) -> dict[str, Any]:
    """The state for one rank. Raises BadCheckpoint."""
    same = made.world_size == wanted.size
    mine = f"rank-{wanted.rank}/" if same else None
    parts = [p for p in made.parts if not p.name.startswith("rank-") or _is_of(p, mine)]
    contents = _read_files(disk, made, parts)
    values = {(f, key): t for f, content in contents.items() for key, t in content.tensors.items()}
    tensors = join(parts, values)
    state = _plain_of(made, 0, contents, "common", tensors)
    if same:
        state |= _plain_of(made, wanted.rank, contents, "own", tensors)
    return state


def _is_of(part: Part, start: str | None) -> bool:
    return start is not None and part.name.startswith(start)


def _read_files(disk: Disk, made: Manifest, wanted: list[Part]) -> dict[str, Content]:
    by_file: dict[str, list[Part]] = {file.name: [] for file in made.files}
    for part in wanted:
        by_file[part.file].append(part)
    return {f.name: read(_whole(disk, f), f, by_file[f.name]) for f in made.files}


def is_whole(made: Manifest, disk: Disk) -> bool:
    """By the sizes of its files: a checkpoint that is damaged is not one of the last k."""
    try:
        return all(disk.size(file.name) == file.bytes for file in made.files)
    except FileNotFoundError:
        return False


def _whole(disk: Disk, file: File) -> bytes:
    """The unpacked bytes. Raises BadCheckpoint when it is not there or has another length."""
    try:
        data = disk.read(file.name)
    except FileNotFoundError:
        raise BadCheckpoint(f"{file.name}: this shard is missing. {ADVICE}.") from None
    if len(data) != file.bytes:
        raise BadCheckpoint(
            f"{file.name}: it has {len(data)} bytes and was written with {file.bytes}. {ADVICE}."
        )
    return unpacked(data, file.name) if file.packed else data


def _plain_of(
    made: Manifest,
    rank: int,
    contents: Mapping[str, Content],
    which: str,
    tensors: Mapping[str, Tensor],
) -> dict[str, Any]:
    """The tree of all ranks ("common", in rank 0's header) or of one ("own", in its own)."""
    start = shard_name(made.number, made.step, rank, made.world_size)
    name = next((n for n in contents if n.startswith(start)), "")
    if not name or which not in contents[name].metadata:
        raise BadCheckpoint(f"{made.name}: the plain state of rank {rank} is not there. {ADVICE}.")
    plain = msgspec.json.decode(contents[name].metadata[which])
    state: dict[str, Any] = unflatten(tensors, plain)
    return state


# -- does it fit?


def same_ranks(made: Manifest, wanted: Wanted) -> list[str]:
    """A remark where something is left out. Raises BadCheckpoint for another world size, unless it
    is to be cut anew."""
    if made.world_size == wanted.size:
        return []
    if not wanted.reshard:
        raise BadCheckpoint(
            f"{made.name}: it was written by {made.world_size} ranks and is read by {wanted.size}. "
            "Load it with reshard=True: weights and optimizer are cut anew, each rank's own random "
            "state is left out."
        )
    if not any(part.name.startswith("rank-") for part in made.parts):
        return []  # all of it is every rank's
    what = f"cut anew from {made.world_size} ranks to {wanted.size}; random states are left out."
    return [f"{made.name}: {what}"]


def same_training(made: Manifest, wanted: Wanted) -> list[str]:
    """Remarks: other code may be a repair. Raises BadCheckpoint for another model or other data."""
    there, here = made.made, wanted.made
    if there.data and here.data and there.data != here.data:
        raise BadCheckpoint(
            f"{made.name}: it was made with other data ({there.data}, and here is {here.data}), or "
            "with another seed for their order: the sampler's place means nothing there. Give the "
            "same data and seed, or start anew."
        )
    if wanted.like is not None and "model" in wanted.like:
        _same_model(made, wanted.like["model"])
    if there.code and here.code and there.code != here.code:
        return [f"{made.name}: it was made by other code ({there.code}, and here is {here.code})."]
    return []


def _same_model(made: Manifest, model: Any) -> None:
    live, _ = flatten({"model": model})
    tensors = {name: leaf for name, leaf in live.items() if isinstance(leaf, Tensor)}
    here = {name: (dtype_name(t, name), tuple(t.shape)) for name, t in tensors.items()}
    there = {p.name: (p.dtype, p.shape) for p in made.parts if p.name.startswith("model/")}
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise BadCheckpoint(
                f"{made.name}: it is of another model: {name.removeprefix('model/')} is "
                f"{_said(there.get(name))} there and {_said(here.get(name))} here. Build the "
                "model that was saved, or give this one a folder of its own."
            )


def _said(kind: tuple[str, tuple[int, ...]] | None) -> str:
    return "not" if kind is None else f"{kind[0]} {list(kind[1])}"
