"""goodput_torchrun.py FOLDER EVERY: the lab's CNN, data-parallel with torch.distributed alone.

Under torchrun, which restarts every rank when one dies. Rank 0 saves the state after every EVERY
steps, by a temporary name and rename; all go on from there. Each rank says its steps.
"""

import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from labkit.bench.peers.say import live, say
from labkit.training import data, models
from labkit.training.loop import summed_loss
from labkit.training.recipes import momentum
from labkit.training.sampler import Sampler, cut

BATCH, LR = 128, 0.1


def save(path: Path, state: dict[str, object]) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def main(folder: Path, every: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    learn, model = data.digits().train, models.build("cnn")
    optimizer = momentum(model.parameters(), LR)
    sampler, step, path = Sampler(learn.samples, BATCH, 0), 0, folder / "state.pt"
    if path.exists():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        sampler.restore(state["sampler"])
        step = state["step"]
    begin = time.monotonic()
    while True:
        mine = cut(sampler.rows(), ranks)[rank]
        optimizer.zero_grad()
        (summed_loss(model, learn.rows(mine)) / BATCH).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))
        optimizer.step()
        sampler.advance()
        step += 1
        end = time.monotonic()
        say("step", rank=rank, number=step, begin=begin, end=end)
        begin = end
        if step % every == 0:
            if rank == 0:
                parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                save(path, parts | {"sampler": sampler.state(), "step": step})
            dist.barrier()  # a failure now falls back to this step or to the one before, all alike
            begin = time.monotonic()


if __name__ == "__main__":
    live(600)
    say("start", rank=int(os.environ["RANK"]))
    main(Path(sys.argv[1]), int(sys.argv[2]))
