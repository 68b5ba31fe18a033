"""Collectives over a `Link`: what a tensor becomes, at which rank.

Every rank of the group calls the same function with a tensor of the same shape and type; which
algorithm carries it is a choice of speed alone. Tensors may be of any shape, also empty, and need
not be contiguous; autograd does not see the change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labkit.collectives import halving_doubling, naive, ring, segmented_ring, shared_memory, tree
from labkit.collectives.link import Abandoned, Link, Message, Pending, Traffic
from labkit.collectives.ops import OPS, check_op, finish

__all__ = [
    "ALGORITHMS",
    "OPS",
    "Abandoned",
    "Link",
    "Message",
    "Pending",
    "Traffic",
    "all_gather",
    "all_reduce",
    "barrier",
    "broadcast",
    "check_op",
    "gather",
    "reduce",
    "reduce_scatter",
    "scatter",
]

ALGORITHMS: dict[str, Callable[[Link, Tensor, str], None]] = {
    "ring": ring.all_reduce,
    "segmented_ring": segmented_ring.all_reduce,
    "tree": tree.all_reduce,
    "halving_doubling": halving_doubling.all_reduce,
    "naive": naive.all_reduce,
    "shared_memory": shared_memory.all_reduce,
}


def all_reduce(link: Link, tensor: Tensor, op: str = "sum", algorithm: str = "ring") -> Tensor:
    """Every rank's `tensor` becomes the combination of all; in place, and returned.

    All ranks end with the same bits. `avg` is the sum divided by the number of ranks; `min` and
    `max` hand a NaN on. Raises ValueError or TypeError, before anything is sent, for an op that is
    unknown or has no meaning for the tensor's type.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"unknown algorithm {algorithm!r}: use one of {', '.join(ALGORITHMS)}")
    check_op(op, tensor.dtype)
    flat = _flat(tensor, write=True)
    ALGORITHMS[algorithm](link, flat, op)
    finish(op, flat, link.size)
    return _put_back(tensor, flat)


def broadcast(link: Link, tensor: Tensor, source: int = 0) -> Tensor:
    """Every rank's `tensor` becomes that of `source`; in place, and returned."""
    flat = _flat(tensor, write=True)
    tree.broadcast(link, flat, _place(link, source))
    return tensor if link.rank == source else _put_back(tensor, flat)


def reduce(link: Link, tensor: Tensor, op: str = "sum", target: int = 0) -> Tensor:
    """The `tensor` of `target` becomes the combination of all; the others keep theirs."""
    check_op(op, tensor.dtype)
    flat = _flat(tensor, write=True)
    if link.rank != target:
        flat = flat.clone()  # the tree adds up partial sums on the way
    tree.reduce(link, flat, op, _place(link, target))
    if link.rank != target:
        return tensor
    finish(op, flat, link.size)
    return _put_back(tensor, flat)


def gather(link: Link, tensor: Tensor, target: int = 0) -> list[Tensor] | None:
    """At `target` the tensors of all ranks, in their order; None elsewhere."""
    pieces = naive.gather(link, _flat(tensor), _place(link, target))
    return None if pieces is None else [piece.view(tensor.shape) for piece in pieces]


def scatter(
    link: Link, tensor: Tensor, pieces: Sequence[Tensor] | None = None, source: int = 0
) -> Tensor:
    """Each rank's `tensor` becomes its piece of the `pieces` at `source`; in place, returned."""
    flats = None
    if link.rank == _place(link, source):
        if pieces is None or len(pieces) != link.size:
            raise ValueError(f"rank {source} scatters: give it {link.size} pieces, one a rank")
        if any(p.shape != tensor.shape or p.dtype != tensor.dtype for p in pieces):
            raise ValueError(f"each piece must be like its target, {_describe(tensor)}")
        flats = [_flat(piece) for piece in pieces]
    flat = _flat(tensor, write=True)
    naive.scatter(link, flat, flats, source)
    return _put_back(tensor, flat)


def all_gather(link: Link, tensor: Tensor) -> list[Tensor]:
    """The tensors of all ranks, in their order, at every rank."""
    flat = _flat(tensor)
    everyone = flat.new_empty(link.size, flat.numel())
    everyone[link.rank] = flat
    ring.all_gather(link, list(everyone))
    return [piece.view(tensor.shape) for piece in everyone]


def reduce_scatter(link: Link, tensor: Tensor, op: str = "sum") -> Tensor:
    """This rank's chunk of the combination of all: part `rank` of the flattened tensor when it is
    split into `size` parts that differ by at most one element (torch.tensor_split). A new 1-D
    tensor; the input is unchanged."""
    check_op(op, tensor.dtype)
    chunks = list(_flat(tensor).clone().tensor_split(link.size))
    ring.reduce_scatter(link, chunks, op)
    mine = chunks[link.rank].clone()
    finish(op, mine, link.size)
    return mine


def barrier(link: Link) -> None:
    """Returns when every rank has called it."""
    tree.barrier(link)


def _flat(tensor: Tensor, write: bool = False) -> Tensor:
    """The tensor's elements in one row: its own memory where that is possible, else a copy."""
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise TypeError(f"cannot send {_describe(tensor)}: give a dense tensor (to_dense())")
    lengths = zip(tensor.shape, tensor.stride(), strict=True)
    if write and any(length > 1 and stride == 0 for length, stride in lengths):
        raise ValueError(
            f"cannot write into {_describe(tensor)}: it was expanded, several of its elements are "
            "one place in memory; give a clone()"
        )
    return tensor.detach().resolve_conj().resolve_neg().contiguous().view(-1)


def _put_back(tensor: Tensor, flat: Tensor) -> Tensor:
    """Writes the result into a tensor whose memory the collective could not work in."""
    if tensor.data_ptr() != flat.data_ptr():
        tensor.detach().copy_(flat.view(tensor.shape))
    return tensor


def _place(link: Link, rank: int) -> int:
    if not 0 <= rank < link.size:
        raise ValueError(f"no rank {rank} in a group of {link.size}: use 0 to {link.size - 1}")
    return rank


def _describe(tensor: Tensor) -> str:
    kind = "quantized" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
    return f"a {kind} tensor of {tensor.dtype} and shape {tuple(tensor.shape)}"
