"""The reductions: which there are, for which types they are defined, how one is applied."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

OPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": Tensor.add_,
    "avg": Tensor.add_,  # a sum, divided by the number of ranks at the end
    "min": lambda mine, theirs: torch.minimum(mine, theirs, out=mine),
    "max": lambda mine, theirs: torch.maximum(mine, theirs, out=mine),
    "prod": Tensor.mul_,
}


def combine(op: str, mine: Tensor, theirs: Tensor) -> None:
    """mine ← mine ⊕ theirs. In the tensor's own type: a sum in bfloat16 rounds at each step."""
    OPS[op](mine, theirs)


def finish(op: str, total: Tensor, size: int) -> None:
    """What remains to be done once, on the combined value of all `size` ranks."""
    if op == "avg":
        total.div_(size)


@functools.cache
def check_op(op: str, dtype: torch.dtype) -> None:
    """Raises ValueError for an unknown op, TypeError where an op has no meaning for a type."""
    if op not in OPS:
        raise ValueError(f"unknown op {op!r}: use one of {', '.join(OPS)}")
    if dtype is torch.bool and op not in ("min", "max"):
        raise TypeError(f"{op} of bool is not defined: use max (any), min (all), or count in int64")
    if dtype.is_complex and op in ("min", "max"):
        raise TypeError(f"{op} of {dtype} is not defined: complex numbers have no order")
    if op == "avg" and not (dtype.is_floating_point or dtype.is_complex):
        raise TypeError(f"avg of {dtype} is not defined: use sum, or a floating-point type")
    try:
        combine(op, torch.ones(1).to(dtype), torch.ones(1).to(dtype))
    except RuntimeError as error:
        raise TypeError(f"torch has no {op} of {dtype}: convert the tensor first") from error
