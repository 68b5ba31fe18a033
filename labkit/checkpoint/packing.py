"""zstd: fewer bytes for the disk and the network, more work for the processor.

Trained weights hardly shrink (their low bits are noise): about 7 % of float32. A frozen model's
zeros, embeddings that were never touched and bfloat16 kept in float32 shrink more. Measure first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import zstandard

from labkit.checkpoint.manifest import BadCheckpoint, Bytes

LEVEL = 1
"""The quickest: higher ones take many times as long for a few per cent."""


def packed(pieces: Iterable[Bytes]) -> Iterator[Bytes]:
    """One zstd frame of all pieces, as it grows."""
    stream = zstandard.ZstdCompressor(LEVEL).compressobj()
    for piece in pieces:
        yield stream.compress(piece)
    yield stream.flush()


def unpacked(data: bytes, name: str) -> bytes:
    """Raises BadCheckpoint when the file `name` is no whole zstd frame."""
    try:
        stream = zstandard.ZstdDecompressor().decompressobj()
        plain = stream.decompress(data)
    except zstandard.ZstdError as error:
        raise BadCheckpoint(f"{name}: it cannot be unpacked ({error}).") from error
    if not stream.eof:
        raise BadCheckpoint(f"{name}: it ends in the middle.")
    return plain
