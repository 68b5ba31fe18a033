"""data_parallel.1: averages of unequal parts, as the last batch of an epoch has them."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from labkit.grading.exercise import Property


def draw_parts(r: random.Random) -> tuple[list[Tensor], list[int]]:
    """Unequal parts; the last rank may have none."""
    samples = [r.randrange(1, 40) for _ in range(r.randrange(2, 6))] + [r.choice([0, 7])]
    means = [torch.tensor([r.uniform(-1, 1) for _ in range(6)]) * (n > 0) for n in samples]
    return means, samples


PROPERTIES = [
    Property("a rank counts as much as it has samples", draw_parts, cases=6, tolerance=1e-4)
]
