"""recover_lab.py JOB TIMES SEED VICTIMS: the lab loses ranks of four, TIMES times, in a fresh
cluster.

JOB is "digits" (the CNN of the course in training) or "bare" (all-reduces of 4 MB, as the peers
do). VICTIMS are killed at once: "2", or "0,4" for rank 0 and the witness, which leads the voters.
Not a peer, but measured as they are: a program of its own.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import torch

from labkit import Cluster
from labkit.bench.peers.say import live, say
from labkit.training.loop import train
from labkit.view import PeerLost

RANKS = 4
FLOATS = 1_000_000  # 4 MB
WARM_UP = 20  # steps, since the first ones import and allocate


def digits(worker: Any) -> None:
    train(worker, "cnn", steps=100_000)


def bare(worker: Any) -> None:
    bucket = worker.group.bucket(FLOATS)
    for step in range(100_000):
        worker.group.all_reduce(bucket.fill_(1.0))
        worker.step(step)


JOBS = {"digits": digits, "bare": bare}


def until_death(worker: Any, job: Callable[[Any], None]) -> tuple[float, float, int, bool]:
    """Works until a peer is lost, then completes a 4 MB all-reduce with the survivors."""
    try:
        job(worker)
    except PeerLost:
        out = time.monotonic()
    group = worker.regroup()
    total = group.all_reduce(torch.ones(FLOATS))
    return out, time.monotonic(), group.size, bool((total == group.size).all())


def lose(victims: list[int], job: Callable[[Any], None], dice: random.Random) -> None:
    """Deaths at a random moment of a training step."""
    with Cluster(RANKS, backend="gloo", device="cpu", seed=dice.randrange(1000)) as cluster:
        run = cluster.run(until_death, job=job)
        run.wait_step(WARM_UP, timeout=30)
        pids = [row["pid"] for row in cluster.status().rows]
        resident = psutil.Process(pids[victims[0]]).memory_info().rss
        time.sleep(dice.uniform(0.0, 0.1))
        killed = time.monotonic()
        for victim in victims:
            os.kill(pids[victim], signal.SIGKILL)
        say("killed", time=killed, resident=resident)
        run.wait(timeout=30)
    for rank, (out, recovered, size, right) in run.results.items():
        say("out", rank=rank, time=out)
        say("recovered", rank=rank, time=recovered, size=size, right=right)
    say("over")


if __name__ == "__main__":
    live(300)
    job, times, dice = JOBS[sys.argv[1]], int(sys.argv[2]), random.Random(int(sys.argv[3]))
    for _ in range(times):
        lose([int(victim) for victim in sys.argv[4].split(",")], job, dice)
