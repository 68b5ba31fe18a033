"""data_parallel.4: compression with error feedback (F. Seide and others, Interspeech 2014)."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from labkit.grading.exercise import Property


def draw_gradient(r: random.Random) -> tuple[Tensor, Tensor, int]:
    gradient, left = (torch.tensor([r.uniform(-1, 1) for _ in range(12)]) for _ in range(2))
    return gradient, left, r.randrange(2, 5)


def part(function: Callable[..., Any], *arguments: Any, place: int) -> Any:
    """One of the two tensors of an answer."""
    pair = function(*arguments)
    return pair[place] if type(pair) in (tuple, list) and len(pair) == 2 else "no pair of tensors"


PROPERTIES = [
    Property("what is sent", draw_gradient, partial(part, place=0), cases=6, tolerance=1e-4),
    Property("what is left", draw_gradient, partial(part, place=1), cases=6, tolerance=1e-4),
]
