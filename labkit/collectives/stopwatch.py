"""How long messages and collectives take: functions that run on every rank, and what they return.

A collective has taken as long as its slowest rank. Of several repetitions the quickest counts: what
a busy machine adds is never negative.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.collectives.links.cable import Cable

Seconds = dict[tuple[str, int], list[float]]
"""Of one rank: (algorithm, bytes) -> seconds of each repetition."""


def ping_pong(
    worker: Any, cable: Mapping[str, float], sizes: Sequence[int], repeats: int = 3
) -> dict[int, float]:
    """Seconds of one message between ranks 0 and 1, on a `Cable`, by its bytes."""
    link, quickest = Cable(worker.group.link, **cable), {}
    for size in sizes if worker.rank < 2 else ():
        tensor, seconds = worker.tensor(size // 4), []
        for _ in range(repeats):
            begin = time.perf_counter()
            for sender in (0, 1):
                move = link.send if worker.rank == sender else link.receive
                move(tensor, 1 - worker.rank)
            seconds.append((time.perf_counter() - begin) / 2)
        quickest[size] = min(seconds)
    return quickest


def all_reduces(
    worker: Any,
    algorithms: Sequence[str],
    sizes: Sequence[int],
    repeats: int,
    cable: Mapping[str, float] | None = None,
) -> Seconds:
    """Every algorithm at every size (bytes of float32), on the group's own link or on a `Cable`."""
    group, seconds = worker.group, Seconds()
    if cable is not None:
        group.link = Cable(group.link, **cable)
    buckets = {size: group.bucket(size // 4) for size in sizes}  # saves the group a copy
    jobs = [(s, a) for s in sizes for a in algorithms for _ in range(repeats)]
    worker.expect(len(jobs))
    for job, (size, algorithm) in enumerate(jobs, 1):
        group.barrier()
        begin = time.perf_counter()
        group.all_reduce(buckets[size], algorithm=algorithm)[0].item()  # .item() waits for a GPU
        seconds.setdefault((algorithm, size), []).append(time.perf_counter() - begin)
        worker.step(job)
    return seconds


def mpi_all_reduces(worker: Any, sizes: Sequence[int], repeats: int) -> Seconds:
    """MPI's own Allreduce, in ranks that mpiexec has started."""
    import numpy as np
    from mpi4py import MPI

    world, seconds = MPI.COMM_WORLD, Seconds()
    for size in [s for s in sizes for _ in range(repeats)]:
        tensor = np.ones(size // 4, np.float32)
        world.Barrier()
        begin = time.perf_counter()
        world.Allreduce(MPI.IN_PLACE, tensor)
        seconds.setdefault(("MPI", size), []).append(time.perf_counter() - begin)
    return seconds


def curves(results: Mapping[int, Seconds]) -> dict[str, list[tuple[int, float]]]:
    """By algorithm the points (bytes, seconds), of the `results` of a run by rank."""
    found: dict[str, list[tuple[int, float]]] = {}
    for algorithm, size in next(iter(results.values())):
        repetitions = zip(*(r[algorithm, size] for r in results.values()), strict=True)
        found.setdefault(algorithm, []).append((size, min(map(max, repetitions))))
    return found
