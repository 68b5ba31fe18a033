"""A training step under the magnifying glass: the backward pass, and what travels meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from labkit.collectives.pending import Pending
from labkit.reliability.communication import Wire, ring
from labkit.training import data as datasets
from labkit.training import models
from labkit.training.buckets import Buckets
from labkit.training.loop import summed_loss
from labkit.training.sampler import Sampler, cut


@dataclass
class Glimpse:
    """One rank in one step, in seconds since its backward pass began.

    `backward` is when that ended, `full[i]` when bucket i set off, `travel[i]` from when to when
    the group's thread worked on it, `sizes[i]` its bytes.
    """

    backward: float
    full: list[float] = field(default_factory=list)
    travel: list[tuple[float, float]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    @property
    def end(self) -> float:
        return max(self.backward, self.travel[-1][1])


def on_paper(
    ready: Sequence[tuple[float, int]], wire: Wire, ranks: int, bucket_bytes: int
) -> Glimpse:
    """The same step with a network of its own: a ring all-reduce over `wire` for each bucket.

    `ready` holds for each gradient, in the order of arrival, when it was there and its bytes.
    """
    glimpse, room, free = Glimpse(ready[-1][0]), 0, 0.0
    for time_ready, size in ready:
        if size > room:
            glimpse.full.append(0.0)
            glimpse.sizes.append(0)
            room = bucket_bytes
        glimpse.full[-1] = time_ready
        glimpse.sizes[-1] += size
        room -= size
    for full, size in zip(glimpse.full, glimpse.sizes, strict=True):
        begin = max(full, free)
        free = begin + float(ring(wire, ranks, size))
        glimpse.travel.append((begin, free))
    return glimpse


def watch(worker: Any, model: str = "gpt", bucket_bytes: int = 1 << 16, steps: int = 5) -> Glimpse:
    """Takes `steps` steps with one shard a rank, and returns the one of median length."""
    learn = datasets.text().train if model == "gpt" else datasets.digits().train
    learn, size = learn.to(worker.device), worker.group.size
    network = models.build(model, worker.seed).to(worker.device)
    shards = cut(Sampler(learn.samples, 32 * size, worker.seed).rows(), size)
    shares = [range(place, place + 1) for place in range(size)]
    buckets = WatchedBuckets(network, worker.group, shares, bucket_bytes=bucket_bytes)
    glimpses = []
    for _ in range(steps):
        buckets.begin()
        buckets.backward(summed_loss(network, learn.rows(shards[worker.group.rank])))
        buckets.wait()
        glimpses.append(buckets.glimpse())
    return sorted(glimpses, key=lambda glimpse: glimpse.end)[steps // 2]


class WatchedBuckets(Buckets):
    """Buckets that note the time, for one shard a rank."""

    def backward(self, loss: Tensor) -> None:
        self.full: list[float] = []
        self.notes: list[tuple[Pending, Pending]] = []
        self.zero = time.monotonic()
        super().backward(loss)
        self.returned = self._now()

    def _start_next(self) -> None:
        self.full.append(self._now())
        before = self.group.submit(self._now, "noting the time")  # the group's thread takes turns
        super()._start_next()
        self.notes.append((before, self.group.submit(self._now, "noting the time")))

    def _now(self) -> float:
        return time.monotonic() - self.zero

    def glimpse(self) -> Glimpse:
        travel = [(before.wait(), after.wait()) for before, after in self.notes]
        return Glimpse(self.returned, self.full, travel, [b.total.nbytes for b in self.buckets])
