"""Recursive halving and doubling (Rabenseifner; Thakur, Rabenseifner and Gropp, 2005, §4.4).

The ring's 2(n-1)/n · S bytes in only 2·log₂(n) messages: partners are 1, 2, 4, … apart, and what
they exchange halves each time. When n is no power of two, the ranks beyond the largest one hand
their tensor to a partner first and get the result at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labkit import faults
from labkit.collectives.link import Link
from labkit.collectives.ops import combine


def all_reduce(link: Link, tensor: Tensor, op: str) -> None:
    """Combines a 1-D tensor over all ranks, in place."""
    inner = 1 << (link.size.bit_length() - 1)  # the largest power of two that is at most n
    if link.rank >= inner:
        link.send(tensor, link.rank - inner)
        link.receive(tensor, link.rank - inner)
        return
    outer = link.rank + inner
    if outer < link.size:
        incoming = torch.empty_like(tensor)
        link.receive(incoming, outer)
        combine(op, tensor, incoming)
    given = halve(link, tensor, op, inner)
    double(link, given)
    if outer < link.size:
        link.send(tensor, outer)


def halve(link: Link, tensor: Tensor, op: str, inner: int) -> list[tuple[Tensor, Tensor]]:
    """Reduce-scatter: partners split what they hold, each keeps and combines one half.

    Returns the halves `(kept, given)` of every step, the last one complete.
    """
    steps = []
    distance = inner
    while distance := distance // 2:
        faults.point("halving_doubling.halve")
        partner = link.rank ^ distance
        halves = tensor.tensor_split(2)
        keep, give = halves if link.rank < partner else halves[::-1]
        incoming = torch.empty_like(keep)
        link.transfer(sends=[(give, partner)], receives=[(incoming, partner)]).wait()
        combine(op, keep, incoming)
        steps.append((keep, give))
        tensor = keep
    return steps


def double(link: Link, steps: list[tuple[Tensor, Tensor]]) -> None:
    """All-gather: the same partners in reverse order, each getting back the half that it gave."""
    for exponent, (kept, given) in enumerate(reversed(steps)):
        faults.point("halving_doubling.double")
        partner = link.rank ^ (1 << exponent)
        link.transfer(sends=[(kept, partner)], receives=[(given, partner)]).wait()
