"""A small training in which every piece of a training state matters."""

from __future__ import annotations

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from labkit.checkpoint import Progress, Random
from labkit.training.sampler import Sampler

SAMPLES = 40


def model(width: int = 12) -> nn.Module:
    return nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.3),
                         nn.Linear(width, 3))  # fmt: skip


def pieces(seed: int = 0, width: int = 12) -> dict:
    """As a training script makes them; the random draws of the run come from `seed` too."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    network = model(width)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    return {
        "model": network,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.97**step),
        "scaler": torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3),
        "sampler": Sampler(SAMPLES, batch=12, seed=seed),
        "average": AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9)),
        "progress": Progress(),
        "random": Random(),
    }


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(99)
    inputs = torch.randn(SAMPLES, 6, generator=generator)
    return inputs, inputs[:, :3].argmax(1)


def train(these: dict, steps: int) -> list[tuple]:
    """Takes `steps` more steps; returns for each its samples, its loss and the scaler's scale."""
    inputs, targets = data()
    seen = []
    network, progress, sampler = these["model"], these["progress"], these["sampler"]
    for _ in range(steps):
        rows = sampler.rows()
        noise = torch.from_numpy(np.random.normal(0, 0.05, (len(rows), 6))).float()
        batch = inputs[rows] * random.choice((1.0, 1.1)) + noise
        loss = F.cross_entropy(network(batch), targets[rows])
        these["optimizer"].zero_grad()
        these["scaler"].scale(loss).backward()
        these["scaler"].step(these["optimizer"])
        these["scaler"].update()
        these["scheduler"].step()
        these["average"].update_parameters(network)
        sampler.advance()
        progress.step, progress.epoch = progress.step + 1, sampler.epoch
        progress.counters["samples"] = progress.counters.get("samples", 0) + len(rows)
        scale = these["scaler"].get_scale()
        seen.append((progress.step, rows.tolist(), loss.item(), scale))
    return seen


def bits(these: dict) -> dict[str, bytes]:
    """All weights, and all averaged ones, as they are in memory."""
    both = {"model": these["model"], "average": these["average"]}
    return {
        f"{name}/{key}": value.numpy().tobytes()
        for name, module in both.items()
        for key, value in module.state_dict().items()
    }
