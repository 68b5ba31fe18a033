"""Binomial trees: broadcast, reduce and their sum, all-reduce; and a barrier.

Everything is done after ⌈log₂ n⌉ messages in a row (twice that for an all-reduce), so a tree is
good at small tensors. Each message is the whole tensor, so it is bad at large ones: 2·log₂(n)·S
against the ring's 2(n-1)/n·S on the path that decides the time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labkit import faults
from labkit.collectives.link import Link
from labkit.collectives.ops import combine


def all_reduce(link: Link, tensor: Tensor, op: str) -> None:
    """Combines up the tree to rank 0, then sends the result down again."""
    reduce(link, tensor, op, 0)
    broadcast(link, tensor, 0)


def reduce(link: Link, tensor: Tensor, op: str, target: int) -> None:
    """`target` ends with the combination of all, the other ranks with that of their subtree."""
    place = (link.rank - target) % link.size  # the target is the root, place 0
    distance = 1
    while distance < link.size:
        faults.point("tree.reduce")
        if place & distance:
            link.send(tensor, (link.rank - distance) % link.size)
            return  # a leaf of what remains
        if place + distance < link.size:
            incoming = torch.empty_like(tensor)
            link.receive(incoming, (link.rank + distance) % link.size)
            combine(op, tensor, incoming)
        distance *= 2


def broadcast(link: Link, tensor: Tensor, source: int) -> None:
    """The ranks that have the tensor double in number with each round."""
    place = (link.rank - source) % link.size  # the source is the root, place 0
    distance = 1 << max(0, link.size - 1).bit_length()
    while distance := distance // 2:
        faults.point("tree.broadcast")
        if place % (2 * distance) == distance:
            link.receive(tensor, (link.rank - distance) % link.size)
        elif place % (2 * distance) == 0 and place + distance < link.size:
            link.send(tensor, (link.rank + distance) % link.size)


def barrier(link: Link) -> None:
    """Dissemination barrier (Hensgen, Finkel and Manber, 1988): in round k tell the rank 2ᵏ to the
    right; after ⌈log₂ n⌉ rounds word of every rank has come to every rank."""
    word, heard = torch.zeros(2, 1, dtype=torch.uint8, device=link.device)
    distance = 1
    while distance < link.size:
        faults.point("barrier")
        to, source = (link.rank + distance) % link.size, (link.rank - distance) % link.size
        link.transfer(sends=[(word, to)], receives=[(heard, source)]).wait()
        distance *= 2
