"""The ring, tuned: the same chunks in the same order, in segments, with all receives posted early.

Two things make the textbook's ring slow over a socket. A message for which nobody waits yet is
announced first and sent when the answer comes; and while a rank adds, its network idles. Here every
receive is posted before the first send, and a chunk travels in segments, so that one is added while
the next is on its way. The bytes are the ring's, 2(n-1)/n · S; the messages are more.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labkit import faults
from labkit.collectives import ring
from labkit.collectives.link import Link
from labkit.collectives.ops import combine

SEGMENT = 1 << 20
"""Bytes. Measured over Gloo, 8 MiB tensors: 0.78 of Gloo's own speed with segments of 128 KiB,
0.92 with 256 KiB, 1.15 with 1 MiB, 0.96 with whole chunks."""


def all_reduce(link: Link, tensor: Tensor, op: str) -> None:
    """Combines a 1-D tensor over all ranks, in place."""
    if link.grouped:  # receives that start without their sends would deadlock
        ring.all_reduce(link, tensor, op)
        return
    n = link.size
    segments = [chunk.split(SEGMENT // chunk.element_size()) for chunk in tensor.tensor_split(n)]
    # Step s gives what step s-1 took. The first n-1 steps combine, the others replace.
    takes = [segments[(link.rank - step - 2) % n] for step in range(2 * n - 2)]
    rooms = [[torch.empty_like(part) for part in take] for take in takes[: n - 1]]
    arrivals = [
        [link.transfer(receives=[(room, link.left)]) for room in step]
        for step in [*rooms, *takes[n - 1 :]]
    ]
    first = segments[(link.rank - 1) % n] if n > 1 else []
    sent = [link.transfer(sends=[(part, link.right)]) for part in first]
    for step, take in enumerate(takes):
        faults.point("ring.reduce_scatter" if step < n - 1 else "ring.all_gather")
        for index, part in enumerate(take):
            arrivals[step][index].wait()
            if step < n - 1:
                combine(op, part, rooms[step][index])
            if step < 2 * n - 3:
                sent.append(link.transfer(sends=[(part, link.right)]))
    for transfer in sent:
        transfer.wait()
