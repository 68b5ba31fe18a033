"""step_plain.py MODEL BATCH STEPS [zero]: plain data-parallel training on four ranks over Gloo's
all-reduce; with "zero" each has its part of the optimizer's state, by torch's own optimizer for it.

The same model, data, batches and optimizer as the lab's, and nothing else: no views, no heartbeats,
no votes, no record. Rank 0 says how many seconds a step took, on average: once for each line of the
program's input, of ranks of their own.
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import distributed as dist
from torch.distributed.optim import ZeroRedundancyOptimizer

from labkit.bench.peers.say import live, say
from labkit.collectives.process_group import form
from labkit.runtime.memory import keep_freed_memory
from labkit.training import models
from labkit.training.loop import summed_loss
from labkit.training.recipes import RECIPES
from labkit.training.sampler import Sampler, cut

RANKS, WARM_UP = 4, 10


def train(rank: int, model: str, batch: int, steps: int, zero: bool, folder: str) -> None:
    live(300)
    torch.set_num_threads(1)
    keep_freed_memory()  # as the lab's workers do: it is no matter of fault tolerance
    recipe = RECIPES[model]
    learn, _ = recipe.data()
    sampler = Sampler(learn.samples, batch, 0)
    network = models.build(model, 0)
    sizes = [parameter.numel() for parameter in network.parameters()]
    bucket = torch.zeros(sum(sizes))
    for parameter, part in zip(network.parameters(), bucket.split(sizes), strict=True):
        parameter.grad = part.view_as(parameter)
    store = dist.FileStore(str(Path(folder) / "store"), RANKS)
    _, group = form("gloo", "cpu", store, rank, RANKS, range(RANKS))
    make: Any = recipe.optimizer
    if zero:
        named = dist.PrefixStore("zero", store)
        dist.init_process_group("gloo", store=named, rank=rank, world_size=RANKS)
        make = partial(ZeroRedundancyOptimizer, optimizer_class=make)
    optimizer = make(network.parameters(), lr=recipe.lr)
    begin = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            begin = time.monotonic()
        rows = sampler.rows()
        bucket.zero_()
        targets = learn.targets[rows].numel()
        (summed_loss(network, learn.rows(cut(rows, RANKS)[rank])) / targets).backward()
        group.allreduce([bucket]).wait()
        optimizer.step()
        sampler.advance()
    if rank == 0:
        say("steps", seconds=(time.monotonic() - begin) / steps)


if __name__ == "__main__":
    live(300)
    batch, steps = map(int, sys.argv[2:4])
    for _ in sys.stdin:
        live(300)
        with tempfile.TemporaryDirectory() as folder:
            arguments = sys.argv[1], batch, steps, "zero" in sys.argv[4:], folder
            mp.start_processes(train, arguments, RANKS, start_method="fork")
