"""Ring all-reduce: reduce-scatter, then all-gather (Patarasuk and Yuan, 2009).

Each rank talks to its two neighbours alone. In 2(n-1) steps it sends 2(n-1)/n · S bytes for a
tensor of S bytes, which no algorithm can beat, and which hardly depends on the number of ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labkit import faults
from labkit.collectives.link import Link
from labkit.collectives.ops import combine


def all_reduce(link: Link, tensor: Tensor, op: str) -> None:
    """Combines a 1-D tensor over all ranks, in place."""
    chunks = list(tensor.tensor_split(link.size))
    reduce_scatter(link, chunks, op)
    all_gather(link, chunks)


def reduce_scatter(link: Link, chunks: list[Tensor], op: str) -> None:
    """Afterwards chunk r is complete at rank r; the other chunks hold partial results."""
    for step in range(link.size - 1):
        faults.point("ring.reduce_scatter")
        give = chunks[(link.rank - step - 1) % link.size]
        take = chunks[(link.rank - step - 2) % link.size]
        incoming = torch.empty_like(take)
        link.transfer(sends=[(give, link.right)], receives=[(incoming, link.left)]).wait()
        combine(op, take, incoming)


def all_gather(link: Link, chunks: list[Tensor]) -> None:
    """Passes chunk r of rank r around, until every rank has them all."""
    for step in range(link.size - 1):
        faults.point("ring.all_gather")
        give = chunks[(link.rank - step) % link.size]
        take = chunks[(link.rank - step - 1) % link.size]
        link.transfer(sends=[(give, link.right)], receives=[(take, link.left)]).wait()
