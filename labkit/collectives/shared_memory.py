"""All-reduce through memory that all ranks see.

There are no messages: a rank reads what its peers wrote where they wrote it. What remains is the
waiting, by counters that their owner raises and the others poll.

- A *private* tensor goes through a small shared one, piece by piece. As in the ring, chunk c is
  begun by rank c and then visited by rank c+1, c+2, …, each adding its own part; but the sums stay
  in place and the ranks walk. Then everyone copies the result out. Two passes over the tensor.
- A tensor in a *bucket* (`SharedMemoryLink.bucket`) is in everyone's sight already. Each rank
  combines one chunk straight out of its peers' buckets and writes the result into all of them,
  block by block while the block is in its cache. One pass.

Each chunk is combined in one order only, so all ranks end with the same bits.
"""

from __future__ import annotations

from ctypes import memmove
from zlib import crc32

from torch import Tensor

from labkit import faults
from labkit.collectives.link import Link
from labkit.collectives.links.shared_memory import PIECE, PIECES, SharedMemoryLink
from labkit.collectives.ops import combine

# The counters of a rank: calls begun and ended, what the call is, steps taken, pieces copied out.
BEGUN, ENDED, CALL, STEPS, COPIED = range(5)
BLOCK = 1 << 19
"""Bytes that are combined and handed out at a time in a bucket: what is handed out still lies in
the cache of its core (1 MiB here), and smaller blocks cost more calls."""


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
    where, parts = _find(link, tensor)
    link.calls += 1
    link.raise_flag(CALL, crc32(f"{op} {tensor.dtype} {tensor.numel()} {where}".encode()))
    link.raise_flag(BEGUN, link.calls)
    if parts is not None:
        _in_bucket(link, parts, op)
    else:
        _private(link, tensor, op)


def _private(link: SharedMemoryLink, tensor: Tensor, op: str) -> None:
    """Piece k is copied out only after piece k+1 is added up, so that few ranks ever wait."""
    pieces = tensor.split(PIECE // tensor.element_size())
    first = link.pieces
    link.pieces += len(pieces)
    for number, piece in enumerate(pieces, first):
        _accumulate(link, piece, number, op)
        if number > first:
            _copy_out(link, pieces[number - 1 - first], number - 1)
    _copy_out(link, pieces[-1], link.pieces - 1)


def _accumulate(link: SharedMemoryLink, piece: Tensor, number: int, op: str) -> None:
    """Adds this rank's part to each chunk of the shared sum, after the left neighbour has."""
    link.await_flags(COPIED, number + 1 - PIECES)  # all are through with what was in this place
    totals = _sum(link, piece, number).tensor_split(link.size)
    mine = piece.tensor_split(link.size)
    done = number * link.size
    for step in range(link.size):
        faults.point("shared_memory.combine")
        chunk = (link.rank - step) % link.size
        if step == 0:
            totals[chunk].copy_(mine[chunk])
            _agree(link)
        else:
            link.await_flag(link.left, STEPS, done + step)
            combine(op, totals[chunk], mine[chunk])
        link.raise_flag(STEPS, done + step + 1)
    _count(link, piece.nbytes, mine[link.rank].nbytes)


def _copy_out(link: SharedMemoryLink, piece: Tensor, number: int) -> None:
    faults.point("shared_memory.copy_out")
    link.await_flags(STEPS, (number + 1) * link.size)
    piece.copy_(_sum(link, piece, number))
    link.raise_flag(COPIED, number + 1)


def _sum(link: SharedMemoryLink, piece: Tensor, number: int) -> Tensor:
    """The shared sum of a piece; the pieces take turns in a few places."""
    return link.sums[number % PIECES, : piece.nbytes].view(piece.dtype)


def _in_bucket(link: SharedMemoryLink, parts: Tensor, op: str) -> None:
    """`parts` [size, numel] are everyone's tensors. Chunk r of any of them is touched by rank r
    alone. Each view costs microseconds, and ranks that share a core add them up: so there are few.
    """
    _agree(link)
    mine = parts.tensor_split(link.size, dim=1)[link.rank]
    for block in mine.split(BLOCK // parts.element_size(), dim=1):
        faults.point("shared_memory.combine")
        everyones = block.unbind()
        total = everyones[link.rank]
        others = everyones[link.rank + 1 :] + everyones[: link.rank]
        for other in others:
            combine(op, total, other)
        for other in others:  # 8 MiB: 1.1 ms; with Tensor.copy_ 1.3 ms
            memmove(other.data_ptr(), total.data_ptr(), total.nbytes)
    _count(link, parts[0].nbytes, mine[0].nbytes)
    link.raise_flag(ENDED, link.calls)
    link.await_flags(ENDED, link.calls)


def _find(link: SharedMemoryLink, tensor: Tensor) -> tuple[str, Tensor | None]:
    """Which bucket holds the tensor, and everyone's view of that place [size, numel]; none if it is
    private."""
    for number, parts in enumerate(link.buckets):
        begin = tensor.data_ptr() - parts.data_ptr() - link.rank * parts.stride(0)
        end = begin + tensor.nbytes
        if begin >= 0 and end <= parts.shape[1]:
            return f"bucket {number}, byte {begin}", parts[:, begin:end].view(tensor.dtype)
    return "private", None


def _agree(link: SharedMemoryLink) -> None:
    """Waits until all have begun this call, and checks that they mean the same by it."""
    link.await_flags(BEGUN, link.calls)
    if any(link.flag(r, CALL) != link.flag(link.rank, CALL) for r in range(link.size)):
        link.abandon()
        raise ValueError(
            f"rank {link.rank}: the ranks do not agree on this all-reduce: all must give the same "
            "op, type and size, and either all or none a tensor in the same place of a bucket"
        )


def _count(link: SharedMemoryLink, total: int, mine: int) -> None:
    """What passes between the ranks' memories, counted like the ring's messages: my part of every
    chunk but my own, and my finished chunk to each of the others; and as much the other way."""
    moved = total - mine + (link.size - 1) * mine
    link.traffic.sent_bytes += moved
    link.traffic.received_bytes += moved
    link.traffic.sent_messages += 2 * (link.size - 1)
    link.traffic.received_messages += 2 * (link.size - 1)
