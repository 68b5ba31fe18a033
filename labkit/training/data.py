"""Real data without a download: hand-written digits, and source text read as characters.

Where the two files come from, their licences and how each is split: `labkit/data/README.md`.
"""

from __future__ import annotations

import functools
import gzip
import io
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

WINDOW = 64
"""Characters in one sample of text."""


@dataclass(frozen=True)
class Dataset:
    """Samples and what a model should say of them; row i of both belongs together.

    digits: inputs float32 [N, 1, 8, 8] in 0..1, targets int64 [N] in 0..9.
    text: inputs int64 [N, WINDOW] of character numbers, targets the same one character later.
    """

    inputs: Tensor
    targets: Tensor

    @property
    def samples(self) -> int:
        return len(self.targets)

    def rows(self, which: Tensor | slice) -> Dataset:
        return Dataset(self.inputs[which], self.targets[which])

    def to(self, device: torch.device | str) -> Dataset:
        return Dataset(self.inputs.to(device), self.targets.to(device))


class Data(NamedTuple):
    """What to learn from and what to be examined on."""

    train: Dataset
    test: Dataset


@functools.cache
def digits() -> Data:
    """The UCI digits: 1 442 images to learn from, 355 to be examined on."""
    file = np.load(io.BytesIO(_path("digits.npz").read_bytes()), allow_pickle=False)
    images = torch.from_numpy(file["images"]).to(torch.float32).unsqueeze(1) / 16
    labels = torch.from_numpy(file["labels"]).to(torch.int64)
    testing = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        testing[(labels == digit).nonzero().flatten()[4::5]] = True
    everything = Dataset(images, labels)
    return Data(everything.rows(~testing), everything.rows(testing))


@functools.cache
def text() -> Data:
    """200 000 characters of Python's standard library: 2 812 windows to learn from, 312 to test."""
    # By a table, not one by one: that takes 0.1 s for each rank, at the start of a run.
    codes = np.frombuffer(characters().encode("ascii"), np.uint8)
    numbers = torch.from_numpy(np.unique(codes, return_inverse=True)[1].astype(np.int64))
    border = len(numbers) * 9 // 10
    return Data(_windows(numbers[:border]), _windows(numbers[border:]))


@functools.cache
def characters() -> str:
    """The excerpt itself."""
    return gzip.decompress(_path("library.txt.gz").read_bytes()).decode("ascii")


@functools.cache
def alphabet() -> str:
    """The characters that occur, in the order of their numbers."""
    return "".join(sorted(set(characters())))


def encode(line: str) -> Tensor:
    """The numbers of the characters, int64 [len(line)]. Raises ValueError for one not known."""
    return torch.tensor([alphabet().index(c) for c in line], dtype=torch.int64)


def decode(numbers: Tensor) -> str:
    return "".join(alphabet()[i] for i in numbers.tolist())


def _windows(numbers: Tensor) -> Dataset:
    count = (len(numbers) - 1) // WINDOW
    inputs, targets = numbers[: count * WINDOW], numbers[1 : count * WINDOW + 1]
    return Dataset(inputs.view(count, WINDOW), targets.view(count, WINDOW))


def _path(name: str) -> Traversable:
    return resources.files("labkit") / "data" / name
