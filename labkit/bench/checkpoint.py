"""How long a checkpoint holds up training, and when it is durable: `labkit bench checkpoint`.

One rank, 25.6 million parameters with AdamW: 307 MB. Each round takes all contenders in turn, into
one folder: a raw write and fsync of as many bytes, the lab's checkpoint, torch.save (with the fsync
and the rename without which it is not durable), dcp.async_save. First with nothing else running;
then the first two again beside a training that goes on.

The lab's stall is all that the training thread waits, in `save` and before `optimizer.step`. The
rows of unit "x" are ratios of two times that were taken one after the other.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp

from labkit import runs
from labkit.bench import picture, report
from labkit.checkpoint import Keep, Store
from labkit.checkpoint.background import Checkpointer
from labkit.checkpoint.state import Progress, Random, capture
from labkit.views.progress import progress

STALL, DURABLE, RAW = "lab, stall", "lab, durable", "raw write and fsync"
RATIO, BESIDE = "lab : raw, durable", "lab : raw, durable, beside training"
SAVE, CALL, DCP = "torch.save, fsync, rename", "dcp.async_save, stall", "dcp.async_save, durable"
BUSY, ALONE = "a training step beside a checkpoint", "a training step"
AIMS = [
    report.Aim(STALL, "<", 0.020),
    report.Aim(RATIO, "<", 1.5),
    report.Aim(BESIDE, "<", 1.5),
]
WIDTH, LAYERS = 2048, 6

Times = dict[str, list[float]]


class Training:
    """Something to be saved: `layers` square layers and one more, 4 million parameters each."""

    def __init__(self, width: int, layers: int) -> None:
        torch.manual_seed(0)
        model = torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(layers)))
        model.append(torch.nn.Linear(width, 200))
        self.model, self.optimizer = model, torch.optim.AdamW(model.parameters())
        self.inputs = torch.randn(32, width)
        self.pieces = {"model": model, "optimizer": self.optimizer}
        self.pieces |= {"progress": Progress(), "random": Random()}

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.model(self.inputs).square().mean().backward()
        self.optimizer.step()

    def beside(self, thread: threading.Thread, took: list[float]) -> None:
        """Trains until the thread ends, at least one step."""
        while True:
            took.append(timed(self.step))
            if not thread.is_alive():
                return


def timed(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def write_raw(path: Path, data: memoryview) -> None:
    """What no checkpoint of these bytes can be faster than."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    while data:
        data = data[os.write(file, data) :]
    os.fsync(file)
    os.close(file)


def torch_save(state: Any, folder: Path) -> None:
    with open(folder / "state.pt.new", "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(folder / "state.pt.new", folder / "state.pt")


def quiet_round(training: Training, ours: Checkpointer, folder: Path, times: Times) -> None:
    """Everybody once, with nothing else running."""
    data = ours._copy(None).make_room().numpy().data
    times[RAW].append(timed(lambda: write_raw(folder / "raw", data)))
    (folder / "raw").unlink()
    ours.save(len(times[RAW]))
    ours.wait()
    times[DURABLE].append(ours.duration)
    times[RATIO].append(ours.duration / times[RAW][-1])
    state = capture(training.pieces)
    times[SAVE].append(timed(lambda: torch_save(state, folder)))
    begin = time.perf_counter()
    future: Any = dcp.async_save(
        {"model": state["model"], "optimizer": state["optimizer"]},
        checkpoint_id=folder / "dcp",
    )
    times[CALL].append(time.perf_counter() - begin)
    future.result()
    times[DCP].append(time.perf_counter() - begin)
    shutil.rmtree(folder / "dcp")


def busy_round(training: Training, ours: Checkpointer, folder: Path, times: Times) -> None:
    """The raw write and the lab's checkpoint on a thread, while training goes on."""
    times[ALONE].append(timed(training.step))
    data = ours._copy(None).make_room().numpy().data
    took = []

    def raw() -> None:
        took.append(timed(lambda: write_raw(folder / "raw", data)))

    thread = threading.Thread(target=raw)
    thread.start()
    training.beside(thread, [])
    (folder / "raw").unlink()
    ours.save(len(times[ALONE]))
    assert ours._thread is not None
    training.beside(ours._thread, times[BUSY])
    ours.wait()
    times[STALL].append(ours.stall)
    times[BESIDE].append(ours.duration / took[0])


def measure(rounds: int = 10, width: int = WIDTH, layers: int = LAYERS) -> list[report.Row]:
    """In turn in one run, after one round that is not counted."""
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="torch.distributed")  # that there is one rank
    names = (STALL, CALL, SAVE, RAW, DURABLE, DCP, RATIO, BESIDE, ALONE, BUSY)
    training = Training(width, layers)
    training.step()
    runs.root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runs.root()) as name:
        folder = Path(name)
        ours = Checkpointer(Store(folder / "ours", Keep(last=1)), training.pieces)
        for count in progress(range(-1, rounds), "checkpoint", unit="round"):
            if count <= 0:
                times: Times = {name: [] for name in names}
            quiet_round(training, ours, folder, times)
            busy_round(training, ours, folder, times)
        ours.close()
    peers = (CALL, SAVE, DCP, RAW)
    return [
        report.row(
            name,
            "peer" if name in peers else "ours",
            "x" if name in (RATIO, BESIDE) else "s",
            times[name],
            "its stall too" if name == SAVE else "",
        )
        for name in names
    ]


def main(
    json: Path | None = None, plot: Path | None = None, check: bool = False, quick: bool = False
) -> int:
    """Measures, prints, writes what is asked for; returns how many aims were missed."""
    rows = measure(rounds=1, width=256) if quick else measure()
    report.show(rows, [f"{os.cpu_count()} cores; into {runs.root()}."])
    if json:
        report.write(json, rows)
    if plot:
        stall = [row for row in rows if row.name in (STALL, CALL, SAVE)]
        durable = [row for row in rows if row.name in (DURABLE, DCP, SAVE, RAW)]
        panels = [
            picture.Panel("How long training stands still", stall, AIMS[0].limit),
            picture.Panel("How long until it is durable", durable),
        ]
        picture.durations(panels).savefig(plot)
    return report.misses(rows, AIMS) if check else 0


if __name__ == "__main__":
    sys.exit(main())
