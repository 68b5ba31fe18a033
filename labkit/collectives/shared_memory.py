"""All-reduce through memory that all ranks see: every rank combines one chunk for all.

There are no messages: a rank reads its chunk straight out of its peers' memory. What remains is
the waiting, with one counter for each rank and stage that the others poll. Each chunk is combined
by one rank, so all ranks end with the same bits.

- A tensor in a *bucket* (`SharedMemoryLink.bucket`) is there already. Each rank combines its chunk
  and writes the result into everyone's bucket, a block at a time, while the block is in its cache.
- A *private* tensor is taken through three small buffers in turn, so that a piece is copied in
  while the one before is combined and the one before that is copied out: nobody waits for long.
"""

from __future__ import annotations

from zlib import crc32

from torch import Tensor

from labkit import faults
from labkit.collectives.link import Link
from labkit.collectives.links.shared_memory import PIECE, PIECES, SharedMemoryLink
from labkit.collectives.ops import OPS, combine

READY, COMBINED, CALL = 0, 1, 2  # counters: turns begun, turns combined, what was called
BLOCK = 1 << 17
"""Bytes that are combined and handed out at a time in a bucket."""


def all_reduce(link: Link, tensor: Tensor, op: str) -> None:
    """Combines a 1-D tensor over all ranks, in place."""
    if not isinstance(link, SharedMemoryLink):
        raise ValueError("algorithm shared_memory needs a SharedMemoryLink: use ring on this link")
    link.check()
    if link.size == 1 or not tensor.numel():
        return
    for peer in range(link.size):
        if peer != link.rank:
            link.hold(peer)
    where, views = _in_bucket(link, tensor)
    link.raise_flag(CALL, crc32(f"{op} {tensor.dtype} {tensor.numel()} {where}".encode()))
    if views:
        _bucket(link, views, op)
    else:
        _private(link, tensor, op)


def _private(link: SharedMemoryLink, tensor: Tensor, op: str) -> None:
    """A pipeline of three stages; piece k uses buffers k mod 3.

    Why no buffer is overwritten too early: a rank copies piece k+3 in after it has waited for all
    to combine piece k, and combines piece k+3 after all have copied it in, which each does only
    when it has copied piece k out.
    """
    pieces = tensor.split(PIECE // tensor.element_size())
    first = link.turns
    link.turns += len(pieces)
    for stage in range(len(pieces) + 2):
        if stage < len(pieces):
            _copy_in(link, pieces[stage], first + stage)
        if 0 <= stage - 1 < len(pieces):
            _combine(link, pieces[stage - 1], first + stage - 1, op)
        if 0 <= stage - 2:
            _copy_out(link, pieces[stage - 2], first + stage - 2)


def _copy_in(link: SharedMemoryLink, piece: Tensor, turn: int) -> None:
    faults.point("shared_memory.copy_in")
    link.inputs[turn % PIECES, link.rank, : piece.nbytes].view(piece.dtype).copy_(piece)
    link.raise_flag(READY, turn + 1)


def _combine(link: SharedMemoryLink, piece: Tensor, turn: int, op: str) -> None:
    faults.point("shared_memory.combine")
    _await_call(link, turn)
    inputs = link.inputs[turn % PIECES, :, : piece.nbytes].view(piece.dtype)
    outputs = link.outputs[turn % PIECES, : piece.nbytes].view(piece.dtype)
    mine = outputs.tensor_split(link.size)[link.rank]
    theirs = [chunks[link.rank] for chunks in (row.tensor_split(link.size) for row in inputs)]
    OPS[op](theirs[0], theirs[1], out=mine)
    for other in theirs[2:]:
        combine(op, mine, other)
    _count(link, piece.nbytes, mine.nbytes)
    link.raise_flag(COMBINED, turn + 1)


def _copy_out(link: SharedMemoryLink, piece: Tensor, turn: int) -> None:
    faults.point("shared_memory.copy_out")
    link.await_flags(COMBINED, turn + 1)
    piece.copy_(link.outputs[turn % PIECES, : piece.nbytes].view(piece.dtype))


def _bucket(link: SharedMemoryLink, views: list[Tensor], op: str) -> None:
    """`views` are everyone's tensors. Chunk r of any of them is touched by rank r alone."""
    turn = link.turns
    link.turns += 1
    link.raise_flag(READY, turn + 1)
    _await_call(link, turn)
    chunks = [view.tensor_split(link.size)[link.rank] for view in views]
    _count(link, views[0].nbytes, chunks[0].nbytes)
    for total, *others in zip(*(c.split(BLOCK // c.element_size()) for c in chunks), strict=True):
        faults.point("shared_memory.combine")
        for other in others:
            combine(op, total, other)
        for other in others:
            other.copy_(total)
    link.raise_flag(COMBINED, turn + 1)
    link.await_flags(COMBINED, turn + 1)


def _in_bucket(link: SharedMemoryLink, tensor: Tensor) -> tuple[str, list[Tensor]]:
    """Which bucket holds the tensor, and everyone's views of that place; none if it is private."""
    for number, parts in enumerate(link.buckets):
        begin = tensor.data_ptr() - parts[link.rank].data_ptr()
        end = begin + tensor.nbytes
        if 0 <= begin and end <= parts.shape[1]:
            return f"bucket {number}, byte {begin}", list(parts[:, begin:end].view(tensor.dtype))
    return "private", []


def _await_call(link: SharedMemoryLink, turn: int) -> None:
    """Waits until all have begun this turn, and checks that they mean the same by it."""
    link.await_flags(READY, turn + 1)
    if any(link.flag(r, CALL) != link.flag(link.rank, CALL) for r in range(link.size)):
        link.abandon()
        raise ValueError(
            f"rank {link.rank}: the ranks do not agree on this all-reduce: all must give the same "
            "op, type and size, and either all or none a tensor in the same place of a bucket"
        )


def _count(link: SharedMemoryLink, total: int, mine: int) -> None:
    """What passes between the ranks' memories, counted as if it were messages: all but my chunk of
    my tensor is read by others, and my chunk of the result by all others; and the reverse."""
    moved = total - mine + (link.size - 1) * mine
    link.traffic.sent_bytes += moved
    link.traffic.received_bytes += moved
    link.traffic.sent_messages += 2 * (link.size - 1)
    link.traffic.received_messages += 2 * (link.size - 1)
