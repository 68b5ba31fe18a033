"""Which samples make up a step, and which rank computes with them.

The order of an epoch follows from the seed, so a place in it is two numbers (`Sampler.state`). Each
step takes one *global batch*, cut into a fixed number of *logical shards*, whatever the number of
ranks; the ranks then share the shards out among themselves. A shard is always the same samples, and
`randomness` gives its forward pass the same random draws, so its gradient depends on weights, shard
and seed, and not on who computes it, or with how many others. When a rank dies the shards stay and
are shared out anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

SHARDS = 8
"""Logical shards in a global batch: the most ranks that can have something to do."""


@dataclass
class Sampler:
    """Walks through `samples` rows in global batches of `batch`, in a new order every epoch.

    The last batch of an epoch is smaller when `batch` does not divide `samples`: every row comes
    exactly once an epoch.
    """

    samples: int
    batch: int
    seed: int
    epoch: int = 0
    position: int = 0

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.samples // self.batch)

    def rows(self) -> Tensor:
        """The rows of the next global batch, int64 [at most `batch`]. Moves nothing."""
        generator = torch.Generator().manual_seed(derive("order", self.seed, self.epoch))
        order = torch.randperm(self.samples, generator=generator)
        return order[self.position : self.position + self.batch]

    def advance(self) -> None:
        """The batch is learnt: moves to the next. A step that failed is not advanced over."""
        self.position += self.batch
        if self.position >= self.samples:
            self.epoch, self.position = self.epoch + 1, 0

    def state(self) -> dict[str, int]:
        """All that a later process needs to go on with exactly the next sample."""
        return {"epoch": self.epoch, "position": self.position}

    def restore(self, state: dict[str, int]) -> None:
        self.epoch, self.position = state["epoch"], state["position"]


def cut(rows: Tensor, shards: int = SHARDS) -> tuple[Tensor, ...]:
    """The logical shards of a global batch: `shards` parts whose sizes differ by at most one."""
    return torch.tensor_split(rows, shards)


def share(place: int, size: int, shards: int = SHARDS) -> range:
    """The shards that the rank at `place` of `size` computes: neighbours, and as even as can be.

    With more ranks than shards some shares are empty.
    """
    return range(place * shards // size, (place + 1) * shards // size)


def randomness(seed: int, step: int, shard: int) -> None:
    """Sets torch's generators (CPU and GPU) to where this shard of this step begins.

    Every draw then follows from (seed, step, shard): there is no generator state to save, to send
    to a new rank, or to lose. Processors of another kind may draw other numbers.
    """
    number = derive("shard", seed, step, shard)
    # torch.manual_seed would do both, but for each kind of device that has not been used yet it
    # formats the whole call stack and keeps it: a millisecond in every step, and a leak.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(number)


def derive(*parts: str | int) -> int:
    """A 64-bit number that depends on every part: seeds next to each other give unlike streams."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")
