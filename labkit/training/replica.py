"""A rank's copy of a small model as one vector, for experiments on how copies are kept together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from labkit.training import data, models
from labkit.training.loop import summed_loss
from labkit.training.sampler import derive


class Replica:
    """Equal on all ranks at first. `weights` has all parameters; `loss` is that of the last batch,
    per sample."""

    def __init__(self, worker: Any, batch: int = 64) -> None:
        learn, examine = data.digits()
        self.learn, self.examine = learn.to(worker.device), examine.to(worker.device)
        # Without dropout: equal batches give equal gradients.
        self.model = models.build("cnn", worker.seed).eval().to(worker.device)
        self.weights = parameters_to_vector(self.model.parameters()).detach()
        self.seed, self.batch, self.loss = worker.seed, batch, float("nan")

    def gradient(self, *name: int) -> Tensor:
        """Of the batch that these numbers name: of equal names the same, on every rank."""
        random = torch.Generator().manual_seed(derive(self.seed, *name))
        rows = torch.randint(self.learn.samples, (self.batch,), generator=random)
        self.model.zero_grad()
        loss = summed_loss(self.model, self.learn.rows(rows)) / self.batch
        loss.backward()  # type: ignore[no-untyped-call]
        self.loss = loss.item()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        return parameters_to_vector(gradients)

    def move(self, by: Tensor) -> None:
        self.weights += by
        vector_to_parameters(self.weights, self.model.parameters())

    def accuracy(self) -> float:
        """On the samples that are kept for examination."""
        with torch.no_grad():
            guess = self.model(self.examine.inputs).argmax(-1)
        return (guess == self.examine.targets).float().mean().item()
