"""The collectives as one would first write them: one rank does all the work.

Rank 0 takes n-1 tensors in and gives n-1 out, so with a tensor of S bytes its network card carries
2(n-1)·S while the others carry 2·S each: the time grows with the number of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from labkit import faults
from labkit.collectives.link import Link
from labkit.collectives.ops import combine


def all_reduce(link: Link, tensor: Tensor, op: str) -> None:
    """Gathers every tensor at rank 0, which combines them and sends the result to each."""
    faults.point("naive.gather")
    tensors = gather(link, tensor, 0)
    if tensors is not None:
        for other in tensors[1:]:
            combine(op, tensor, other)
    faults.point("naive.broadcast")
    broadcast(link, tensor, 0)


def broadcast(link: Link, tensor: Tensor, source: int) -> None:
    """`source` sends its tensor to everyone."""
    scatter(link, tensor, [tensor] * link.size if link.rank == source else None, source)


def gather(link: Link, tensor: Tensor, target: int) -> list[Tensor] | None:
    """At `target` the tensors of all ranks, as new tensors; None elsewhere."""
    if link.rank != target:
        link.send(tensor, target)
        return None
    tensors = [torch.empty_like(tensor) for _ in range(link.size)]
    tensors[target].copy_(tensor)
    receives = [(tensors[rank], rank) for rank in range(link.size) if rank != target]
    link.transfer(receives=receives).wait()
    return tensors


def scatter(link: Link, tensor: Tensor, pieces: Sequence[Tensor] | None, source: int) -> None:
    """Fills each rank's `tensor` with its piece of the `pieces` that `source` holds."""
    if link.rank != source:
        link.receive(tensor, source)
        return
    assert pieces is not None
    link.transfer(sends=[(pieces[r], r) for r in range(link.size) if r != source]).wait()
    if pieces[source] is not tensor:
        tensor.copy_(pieces[source])
