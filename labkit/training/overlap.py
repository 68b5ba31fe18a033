"""A training step under the magnifying glass: the backward pass, and what travels meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from labkit.collectives.group import Pending
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


def watch(worker: Any, model: str = "gpt", bucket_bytes: int = 1 << 16, steps: int = 7) -> Glimpse:
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
