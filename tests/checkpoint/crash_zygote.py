"""Imports torch once, and then forks a child for every crash: `crash_zygote.py FOLDER`.

Each line of input is (where, point, count): the child saves SAVES checkpoints into `where` and is
killed at its `count`-th visit of `point`. The answer is the child's end and the steps that it had
reported as durable. With no point, the answer is the points that it has visited.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import torch

from labkit import faults
from labkit.checkpoint import Keep, Store
from labkit.checkpoint import files as checkpoint_files

SAVES = 3


def state(step: int) -> dict:
    frozen = torch.full((5,), 9.0)
    return {"model": {"w": torch.full((40,), float(step)), "frozen": frozen}, "step": step}


def store_in(folder: str | Path) -> Store:
    return Store(folder, Keep(last=1), full_every=2)


class Visits(faults.Armed):
    """Counts the points that are reached, and does nothing else."""

    def reach(self, point: str | None = None, step: int | None = None) -> None:
        if point is not None:
            self.visits[point] += 1


def save_all(where: str, report: int) -> None:
    checkpoint_files.CHUNK = 400  # several writes for one small file
    store = store_in(where)
    for step in range(1, SAVES + 1):
        store.save(state(step), step)
        os.write(report, bytes([step]))


def child(where: str, point: str | None, count: int, report: int) -> None:
    if point is None:
        faults.points.armed = visits = Visits()
        save_all(where, os.open(os.devnull, os.O_WRONLY))
        os.write(report, json.dumps(visits.visits).encode())
    else:
        strike = faults.At(faults.Kill(0), point=point, count=count)
        faults.arm((strike,), lambda fault: os.kill(os.getpid(), signal.SIGKILL))
        save_all(where, report)
    os._exit(0)


def main() -> None:
    torch.set_num_threads(1)  # no thread but this one, so that forking is safe
    for line in sys.stdin:
        where, point, count = json.loads(line)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            child(where, point, count, write)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        visits = Counter(json.loads(said)) if point is None else max(said, default=0)
        print(json.dumps([os.waitstatus_to_exitcode(status), visits]), flush=True)


if __name__ == "__main__":
    main()
