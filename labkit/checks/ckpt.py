"""The exercises of the notebooks on checkpoints: 06 has the first three, 08 the others."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable
from typing import Any

from labkit.checks import Exercise
from labkit.simulator.disk import PowerFailure, SimulatedDisk

# ---- ckpt.1: a file that no crash can tear -------------------------------------------------------

OLD = b"the file as it was before, whole"


def publish(disk: Any, name: str, data: bytes) -> None:
    disk.write(name + ".new", data)
    disk.fsync(name + ".new")
    disk.rename(name + ".new", name)
    disk.fsync_dir()


def power_failures(function: Callable[..., Any], data: bytes, seeds: int) -> dict[str, str]:
    """The power fails at each operation of `function(disk, "model", data)`, and after it."""
    disk = with_old(0)
    before = disk.operations
    function(disk, "model", data)
    count = disk.operations - before
    worst = {"after a power failure on the way": "old or new", "after it has returned": "new"}
    for operation in range(1, count + 2):
        for seed in range(seeds):
            disk = with_old(seed)
            disk.fails_at = disk.operations + operation
            returned = operation > count
            with contextlib.suppress(PowerFailure):
                function(disk, "model", data)
            disk.lose_power()
            there = disk.read("model") if "model" in disk.list() else None
            if there not in (OLD, data):
                worst["after a power failure on the way"] = "torn, or gone"
            if returned and there != data:
                worst["after it has returned"] = "old" if there == OLD else "torn, or gone"
    return worst


def with_old(seed: int) -> SimulatedDisk:
    disk = SimulatedDisk(seed)
    publish(disk, "model", OLD)
    return disk


def draw_file(r: random.Random) -> tuple[bytes, int]:
    return bytes(r.randrange(1, 256) for _ in range(r.choice([40, 150]))), 25


def overwrites(disk: Any, name: str, data: bytes) -> None:
    disk.write(name, data)
    disk.fsync(name)
    disk.fsync_dir()


def renames_only(disk: Any, name: str, data: bytes) -> None:
    disk.write(name + ".new", data)
    disk.rename(name + ".new", name)
    disk.fsync_dir()


def forgets_the_folder(disk: Any, name: str, data: bytes) -> None:
    disk.write(name + ".new", data)
    disk.fsync(name + ".new")
    disk.rename(name + ".new", name)


# ---- ckpt.2: the sampler's place from the step alone ---------------------------------------------


def place(step: int, samples: int, batch: int) -> tuple[int, int]:
    epoch, steps = divmod(step, -(-samples // batch))
    return epoch, steps * batch


def draw_place(r: random.Random) -> tuple[int, int, int]:
    return r.randrange(0, 200), r.choice([40, 100, 1442]), r.choice([8, 12, 128])


def counts_samples(step: int, samples: int, batch: int) -> tuple[int, int]:
    return step * batch // samples, step * batch % samples


def drops_the_last_batch(step: int, samples: int, batch: int) -> tuple[int, int]:
    steps = max(1, samples // batch)
    return step // steps, step % steps * batch


# ---- ckpt.3: retention ---------------------------------------------------------------------------

Checkpoints = list[tuple[int, bool]]


def to_delete(checkpoints: Checkpoints, keep: int) -> list[int]:
    good = [step for step, whole in checkpoints if whole]
    newest = max(good, default=-1)
    return [step for step, _ in checkpoints if step not in good[-keep:] and step < newest]


def draw_checkpoints(r: random.Random) -> tuple[Checkpoints, int]:
    steps = sorted(r.sample(range(10, 100, 10), r.randrange(0, 7)))
    return [(step, r.random() < 0.6) for step in steps], r.randrange(1, 4)


def counts_files(checkpoints: Checkpoints, keep: int) -> list[int]:
    return [step for step, _ in checkpoints[:-keep]]


def deletes_all_that_is_damaged(checkpoints: Checkpoints, keep: int) -> list[int]:
    good = [step for step, whole in checkpoints if whole]
    return [step for step, _ in checkpoints if step not in good[-keep:]]


def keeps_what_is_damaged(checkpoints: Checkpoints, keep: int) -> list[int]:
    return [step for step, whole in checkpoints if whole][:-keep]


# ---- ckpt.4: how often, and what it costs --------------------------------------------------------


def interval(write: float, mtbf: float) -> tuple[float, float]:
    best = math.sqrt(2 * write * mtbf)
    return best, write / best + best / (2 * mtbf)


def draw_costs(r: random.Random) -> tuple[float, float]:
    return r.choice([1.0, 10.0, 60.0, 300.0]), r.choice([3600.0, 11135.0, 86400.0])


def takes_the_mean(write: float, mtbf: float) -> tuple[float, float]:
    best = math.sqrt(write * mtbf)
    return best, write / best + best / (2 * mtbf)


def loses_all_of_it(write: float, mtbf: float) -> tuple[float, float]:
    best = math.sqrt(2 * write * mtbf)
    return best, write / best + best / mtbf


# ---- ckpt.5: incremental checkpoints, and what may be deleted ------------------------------------

Needed = dict[int, set[str]]


def garbage(files: list[str], kept: Needed) -> list[str]:
    used = set[str]().union(*kept.values())
    return sorted(file for file in files if file not in used)


def draw_files(r: random.Random) -> tuple[list[str], Needed]:
    """A frozen layer stands in an old file; every checkpoint has one of its own besides."""
    steps = list(range(10, 10 * r.randrange(4, 8), 10))
    full = r.choice(steps[:2])
    kept = {step: {f"{step}.shard", f"{full}.shard"} for step in steps[-2:]}
    files = [f"{step}.shard" for step in steps]
    return r.sample(files, len(files)), kept


def goes_by_the_step(files: list[str], kept: Needed) -> list[str]:
    return sorted(file for file in files if int(file.split(".")[0]) not in kept)


def looks_at_the_newest(files: list[str], kept: Needed) -> list[str]:
    return sorted(file for file in files if file not in kept[max(kept)])


# ---- ckpt.6: in whose memory does the copy lie? --------------------------------------------------


def holder(rank: int, ranks: int, per_host: int) -> int:
    return (rank + per_host) % ranks


def draw_hosts(r: random.Random) -> tuple[int, int, int]:
    per_host = r.choice([2, 4, 8])
    ranks = per_host * r.randrange(2, 6)
    return r.randrange(ranks), ranks, per_host


def takes_the_next_rank(rank: int, ranks: int, per_host: int) -> int:
    return (rank + 1) % ranks


def forgets_the_end(rank: int, ranks: int, per_host: int) -> int:
    return rank + per_host


EXERCISES = {
    "ckpt.1": Exercise(
        reference=publish,
        draw=draw_file,
        run=power_failures,
        mistakes={
            "once it is opened the old file is gone: write under another name": overwrites,
            "the name may be on the disk before the bytes are: fsync the file": renames_only,
            "the rename itself is in the cache: fsync_dir before you return": forgets_the_folder,
        },
        cases=3,
    ),
    "ckpt.2": Exercise(
        reference=place,
        draw=draw_place,
        mistakes={
            "the last batch of an epoch is smaller, and the next one begins at 0": counts_samples,
            "the last batch of an epoch is smaller, but it is there": drops_the_last_batch,
        },
        cases=40,
    ),
    "ckpt.3": Exercise(
        reference=to_delete,
        draw=draw_checkpoints,
        mistakes={
            "three damaged files are no three checkpoints: count the good ones": counts_files,
            "the newest one may still be on its way": deletes_all_that_is_damaged,
            "what is damaged, and older than a good one, is of no use": keeps_what_is_damaged,
        },
        cases=60,
    ),
    "ckpt.4": Exercise(
        reference=interval,
        draw=draw_costs,
        mistakes={
            "a failure comes, on average, in the middle: half an interval is lost": takes_the_mean,
            "on average half an interval is lost, not all of it": loses_all_of_it,
        },
    ),
    "ckpt.5": Exercise(
        reference=garbage,
        draw=draw_files,
        mistakes={
            "a checkpoint that is kept refers to a file of an older one": goes_by_the_step,
            "more than one checkpoint is kept": looks_at_the_newest,
        },
        cases=30,
    ),
    "ckpt.6": Exercise(
        reference=holder,
        draw=draw_hosts,
        mistakes={
            "the next rank is, mostly, on the same host, and dies with it": takes_the_next_rank,
            "the ranks of the last host go around to the first": forgets_the_end,
        },
        cases=30,
    ),
}
