"""Tensors on their way into a file and back: the safetensors format, whole or cut among ranks.

A safetensors file is its header's length (8 bytes, little-endian), the header (JSON: each tensor's
dtype, shape and place), then the bytes of all tensors. Reading it executes nothing, where
unpickling runs whatever the file says. The lab writes this itself, straight from its snapshot, and
reads with the safetensors library; any other program that knows the format can read them too.

When all ranks hold the same state, each writes a part of it: the tensors, laid out in a row, are
cut into as many pieces of equal bytes. That is as even as can be, and every rank writes in parallel
(S. Rajbhandari et al., "ZeRO", SC 2020, cuts the optimizer's state alike). What belongs to one rank
only, its random state, goes whole into its own shard, under names that begin with "rank-3/". Of a
tensor of which every rank holds another `Portion` each writes its own: the file does not show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import safetensors
import torch
from torch import Tensor

from labkit.checkpoint.manifest import BadCheckpoint, Bytes, File, Part, checksum
from labkit.checkpoint.tree import Portion

ALIGNMENT = 64
"""Bytes: the data of a file begin at a multiple of it, so that they can be used where they lie."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "U64": torch.uint64,
    "I32": torch.int32,
    "U32": torch.uint32,
    "I16": torch.int16,
    "U16": torch.uint16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Cut(NamedTuple):
    """Elements `start` to `stop` of a tensor: `tensor` is the whole, live one, or, where `shape` is
    given, these elements of a whole of that shape."""

    name: str
    tensor: Tensor
    start: int
    stop: int
    shape: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        return (self.stop - self.start) * self.tensor.element_size()

    @property
    def dtype(self) -> str:
        return dtype_name(self.tensor, self.name)

    def values(self) -> Tensor:
        """The elements: the tensor itself, or a flat part of it; of one that is not laid out in its
        order, that is a copy."""
        if self.stop - self.start == self.tensor.numel():  # of a portion always
            return self.tensor
        return self.tensor.reshape(-1)[self.start : self.stop]

    def part(self, hash: str, file: str) -> Part:
        shape = tuple(self.tensor.shape) if self.shape is None else self.shape
        return Part(self.name, self.dtype, shape, self.start, self.stop, hash, file)


def dtype_name(tensor: Tensor, name: str) -> str:
    """As safetensors has it. Raises TypeError for a tensor that it cannot hold."""
    if tensor.dtype not in _NAMES or tensor.layout != torch.strided:
        kind = str(tensor.dtype if tensor.layout == torch.strided else tensor.layout)
        raise TypeError(
            f"{name}: safetensors has no {kind.removeprefix('torch.')} tensors. Give it as others: "
            "a complex one by torch.view_as_real, say, a sparse one as its indices and values"
        )
    return _NAMES[tensor.dtype]


def cuts(leaves: Mapping[str, Tensor | Portion], place: int = 0, size: int = 1) -> list[Cut]:
    """The part of the rank at `place` of `size`: of what all have alike the same bytes for each, up
    to one element, and of what they have in portions its own."""
    portions = {name: leaf for name, leaf in leaves.items() if isinstance(leaf, Portion)}
    found = [
        Cut(name, values, start, start + values.numel(), shape)
        for name, (values, shape, start) in portions.items()
        if values.numel()
    ]
    tensors = {name: leaf for name, leaf in leaves.items() if isinstance(leaf, Tensor)}
    for name, tensor in tensors.items():
        dtype_name(tensor, name)
    if size == 1:
        return found + [Cut(name, tensor, 0, tensor.numel()) for name, tensor in tensors.items()]
    total = sum(tensor.nbytes for tensor in tensors.values())
    begin, end = place * total // size, (place + 1) * total // size
    at = 0
    for name, tensor in tensors.items():
        width = tensor.element_size()
        start, stop = (min(max(0, -(-(x - at) // width)), tensor.numel()) for x in (begin, end))
        empty = tensor.numel() == 0 and place == 0
        if start < stop or empty:
            found.append(Cut(name, tensor, start, stop))
        at += tensor.nbytes
    return found


def in_order(these: Iterable[Cut]) -> list[Cut]:
    """As they stand in a file: widest elements first, so that each is aligned to its own width."""
    return sorted(these, key=lambda cut: -cut.tensor.element_size())


def header(parts: Sequence[Part], metadata: Mapping[str, str]) -> bytes:
    """The length and the header of a file whose data are `parts`, in this order, without gaps."""
    described: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for part in parts:
        count = part.stop - part.start
        whole = part.key == part.name
        end = at + count * DTYPES[part.dtype].itemsize
        shape = list(part.shape) if whole else [count]
        described[part.key] = {"dtype": part.dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = msgspec.json.encode(described)
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


class Content(NamedTuple):
    """A shard that has been read and checked: its tensors by key, flat, and its metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read(data: Bytes, file: File, parts: Iterable[Part]) -> Content:
    """What the bytes of an unpacked shard hold, `parts` being those that are wanted of it.

    Raises BadCheckpoint when a byte of the header or of one of them is not as it was written.
    """
    length = 8 + int.from_bytes(data[:8], "little")
    if length > len(data) or checksum(memoryview(data)[:length]) != file.header:
        raise BadCheckpoint(f"{file.name}: its header is damaged. {ADVICE}")
    try:
        found = dict(safetensors.deserialize(bytes(data)))
    except safetensors.SafetensorError as error:
        raise BadCheckpoint(f"{file.name}: not a safetensors file ({error}). {ADVICE}") from error
    tensors = {part.key: _checked(found, part) for part in parts}
    described = msgspec.json.decode(bytes(data[8:length]))
    return Content(tensors, described.get("__metadata__", {}))


def _checked(found: Mapping[str, Any], part: Part) -> Tensor:
    if part.key not in found:
        raise BadCheckpoint(f"{part.file}: there is no {part.key!r} in it. {ADVICE}")
    data = found[part.key]["data"]
    if checksum(data) != part.hash:
        raise BadCheckpoint(f"{part.file}: the bytes of {part.key!r} have changed. {ADVICE}")
    dtype = DTYPES[part.dtype]
    if not data:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype)


ADVICE = (
    "The disk or somebody's hand has changed what was durable: bring the file back from a copy, "
    "or use an older checkpoint"
)


def join(parts: Sequence[Part], values: Mapping[tuple[str, str], Tensor]) -> dict[str, Tensor]:
    """Whole tensors from their parts; `values` has the flat elements by (file, key).

    Raises BadCheckpoint when some elements of a tensor are in no part.
    """
    by_name: dict[str, list[Part]] = {}
    for part in parts:
        by_name.setdefault(part.name, []).append(part)
    return {name: _joined(pieces, values) for name, pieces in by_name.items()}


def _joined(pieces: list[Part], values: Mapping[tuple[str, str], Tensor]) -> Tensor:
    pieces = sorted(pieces, key=lambda part: part.start)
    ends = [0, *(part.stop for part in pieces)]
    if [part.start for part in pieces] != ends[:-1] or ends[-1] != pieces[0].elements:
        raise BadCheckpoint(f"{pieces[0].file}: {pieces[0].name!r} is not complete. {ADVICE}")
    flat = [values[part.file, part.key] for part in pieces]
    return (flat[0] if len(flat) == 1 else torch.cat(flat)).view(pieces[0].shape)
