"""What a model is trained with when the caller does not say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from labkit.training import data as datasets
from labkit.training.data import Data


@dataclass(frozen=True)
class Recipe:
    """What a model is trained with when the caller does not say; found by trying."""

    data: Callable[[], Data]
    batch: int
    lr: float
    epochs: int
    optimizer: Callable[..., torch.optim.Optimizer]


def momentum(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr, momentum=0.9)


RECIPES = {
    "cnn": Recipe(datasets.digits, batch=128, lr=0.1, epochs=15, optimizer=momentum),
    "gpt": Recipe(datasets.text, batch=16, lr=3e-3, epochs=2, optimizer=torch.optim.AdamW),
}
