"""What changes when more ranks share the work: the batch, the learning rate, the bytes on the wire.

With n ranks that each add a batch of their own the global batch is n times as large and the steps
are n times fewer. Two rules say what then becomes of the learning rate:

- linear, lr · n: k small steps go about as far as one step on the k batches together, as long as
  the weights move little meanwhile, which is why it needs a warm-up (P. Goyal et al., "Accurate,
  Large Minibatch SGD: Training ImageNet in 1 Hour", 2017);
- square root, lr · √n: keeps the variance of a step's noise (A. Krizhevsky, "One weird trick for
  parallelizing convolutional neural networks", 2014, who then used the linear rule).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Schedule = Callable[[int], float]
"""From the step (0 is the first) to a factor for the learning rate."""


def linear(lr: float, n: float) -> float:
    """The learning rate for an n times larger batch (Goyal et al. 2017)."""
    return lr * n


def square_root(lr: float, n: float) -> float:
    """The learning rate for an n times larger batch (Krizhevsky 2014)."""
    return lr * math.sqrt(n)


def constant(step: int) -> float:
    return 1.0


def warm_up(steps: int) -> Schedule:
    """Rises evenly to 1 over the first `steps` steps, and stays there."""
    return lambda step: min(1.0, (step + 1) / max(1, steps))


def cosine(total: int, warm: int = 0) -> Schedule:
    """A warm-up of `warm` steps, then half a cosine from 1 down to 0 at step `total`."""
    rise = warm_up(warm)

    def factor(step: int) -> float:
        if step < warm:
            return rise(step)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))

    return factor


def effective_batch(per_rank: int, ranks: int, accumulation: int = 1) -> int:
    """Samples whose mean gradient one optimizer step applies."""
    return per_rank * ranks * accumulation


def speed_up(parallel: float, n: int) -> float:
    """Amdahl's law (1967): n ranks share the part `parallel` of the work; the rest stays."""
    return 1 / ((1 - parallel) + parallel / n)


class TopK:
    """Gradient compression: the largest entries only, and the rest is not lost but late.

    What was left out is added to the next gradient (error feedback; F. Seide et al. 2014,
    A. Aji and K. Heafield 2017), so over many steps everything arrives.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.left: Tensor | None = None

    def compress(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Values and places of the largest `share` of the entries of gradient + what was left."""
        corrected = gradient if self.left is None else gradient + self.left
        count = max(1, round(self.share * corrected.numel()))
        places = corrected.abs().topk(count).indices
        values = corrected[places]
        self.left = corrected.clone()
        self.left[places] = 0
        return values, places


def decompress(values: Tensor, places: Tensor, size: int) -> Tensor:
    """The dense gradient [size]; entries sent by several ranks for one place add up."""
    return torch.zeros(size, dtype=values.dtype).index_add_(0, places, values)


def quantise(gradient: Tensor) -> tuple[Tensor, float]:
    """A quarter of the bytes: int8 entries and the float32 step between them."""
    step = max(gradient.abs().max().item() / 127, torch.finfo(gradient.dtype).tiny)
    return (gradient / step).round().to(torch.int8), step


def dequantise(entries: Tensor, step: float) -> Tensor:
    return entries.to(torch.float32) * step
