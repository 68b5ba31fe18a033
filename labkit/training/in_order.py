"""A sum whose bits do not depend on how many ranks take part.

Adding floating-point numbers is not associative: (a + b) + c and a + (b + c) may differ in the last
bit. A ring adds each chunk in another order, and every order changes with the number of ranks. Here
the addends are the gradients of the logical shards, and everybody adds them as 0 + 1 + … + L-1.

Each rank owns one chunk of the result. It gets that chunk of every shard's gradient, unadded, sums
in order and sends the sum to all. With L shards, n ranks and a gradient of S bytes a rank sends
(n-1)/n · (L/n) · S, then (n-1)/n · S: with one shard a rank that is what a ring sends, with two
it is 1.5 times as much. That is the price of the same bits. It takes 2 rounds in place of 2(n-1),
so where latency rules, as with the lab's small models on one machine, it costs no time.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from labkit import faults
from labkit.collectives.link import Link


def sum_in_order(link: Link, mine: Tensor, total: Tensor, shares: Sequence[Sequence[int]]) -> None:
    """total [S] ← the sum of all shards in their order, the same bits at every rank.

    `mine` [shards of this rank, S] holds one gradient a row; `shares` says for each place of the
    link which shards it has, in ascending order (`sampler.share`).
    """
    chunks = total.tensor_split(link.size)
    others = [place for place in range(link.size) if place != link.rank]
    pieces = [part.contiguous() for part in mine.tensor_split(link.size, dim=1)]
    received = [total.new_empty(len(share), chunks[link.rank].numel()) for share in shares]
    received[link.rank] = pieces[link.rank]

    faults.point("in_order.exchange")
    exchange(link, [(pieces[p], p) for p in others], [(received[p], p) for p in others])
    chunks[link.rank].zero_()
    for rows in received:
        for row in rows:
            chunks[link.rank].add_(row)

    faults.point("in_order.all_gather")
    exchange(link, [(chunks[link.rank], p) for p in others], [(chunks[p], p) for p in others])


def exchange(
    link: Link, sends: list[tuple[Tensor, int]], receives: list[tuple[Tensor, int]]
) -> None:
    """One grouped transfer; empty tensors are not sent."""
    link.transfer(
        [(tensor, to) for tensor, to in sends if tensor.numel()],
        [(tensor, source) for tensor, source in receives if tensor.numel()],
    ).wait()
