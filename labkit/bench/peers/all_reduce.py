"""One rank that all-reduces with everybody in turn: the lab's algorithms, Gloo's own, and MPI's.

`all_reduce ROUNDS FOLDER SIZE…`, started by mpiexec. All contenders run in the same processes.
Those that are compared with each other take turns, with nobody else in between; the order is
reversed in every other round, so that nobody always follows the same one.
A turn is two calls, and the second is timed: as in osu_allreduce and nccl-tests, each finds the
caches as its own kind leaves them. A time is that of the slowest rank, from a barrier on. As in
osu_allreduce a barrier follows too: where ranks share a core, one that is through must not keep
another from leaving, by what it does next.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from mpi4py import MPI
from torch import Tensor
from torch.distributed import FileStore, ProcessGroupGloo

from labkit.bench.peers.say import live, say
from labkit.collectives import ALGORITHMS
from labkit.collectives.link import Link
from labkit.collectives.links.mpi import MpiLink
from labkit.collectives.links.shared_memory import SharedMemoryLink
from labkit.collectives.links.torch_p2p import TorchLink

WARM_UP = 2  # rounds that are not counted
SECONDS = 1800

Reduce = Callable[[Tensor], object]


Contenders = dict[str, tuple[Reduce, Tensor]]
"""Each all-reduce with the tensor that it works on."""


def contests(folder: Path, nbytes: int) -> list[Contenders]:
    """Who is compared with whom, on tensors of at most `nbytes`."""
    comm = MPI.COMM_WORLD
    store = FileStore(str(folder / "store"), comm.size)
    options: Any = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._devices = [ProcessGroupGloo.create_device(hostname="127.0.0.1")]
    group: Any = ProcessGroupGloo(store, comm.rank, comm.size, options)
    gloo, mpi = TorchLink(group), MpiLink(comm.Dup())
    shared = SharedMemoryLink(comm.rank, comm.size, store)  # type: ignore[arg-type]
    private = torch.zeros(nbytes // 4)
    bucket = shared.bucket(nbytes).view(torch.float32)

    def ours(link: Link, algorithm: str, tensor: Tensor = private) -> tuple[Reduce, Tensor]:
        return lambda part: ALGORITHMS[algorithm](link, part, "sum"), tensor

    textbook = ["ring", "halving_doubling", "tree", "naive"]
    return [
        {name.replace("_", "-"): ours(gloo, name) for name in textbook},
        {
            "Gloo's own": (lambda part: group.allreduce([part]).wait(), private),
            "segmented ring": ours(gloo, "segmented_ring"),
        },
        {
            "ring over MPI": ours(mpi, "ring"),
            "shared memory": ours(shared, "shared_memory"),
            "MPI's Allreduce": (lambda part: comm.Allreduce(MPI.IN_PLACE, part.numpy()), private),
            "shared memory, bucket": ours(shared, "shared_memory", bucket),
        },
    ]


def turn(reduce: Reduce, tensor: Tensor) -> float:
    """Seconds that this rank took in the second of two calls. Raises when the sum is wrong."""
    comm = MPI.COMM_WORLD
    tensor.fill_(comm.rank + 1)
    for _ in range(2):
        comm.Barrier()
        begin = perf_counter()
        reduce(tensor)
        took = perf_counter() - begin
    comm.Barrier()
    want = comm.size * comm.size * (comm.size + 1) / 2
    if not all(tensor[place] == want for place in (0, len(tensor) // 3, -1)):
        raise RuntimeError(f"rank {comm.rank}: wrong sum {tensor[0]:g} instead of {want:g}")
    return took


def take_turns(contest: Contenders, rounds: int, nbytes: int) -> dict[str, list[float]]:
    """Seconds of this rank in each round, those of the warm-up first."""
    took: dict[str, list[float]] = {name: [] for name in contest}
    for number in range(WARM_UP + rounds):
        for name in list(contest)[:: -1 if number % 2 else 1]:
            reduce, tensor = contest[name]
            took[name].append(turn(reduce, tensor[: nbytes // 4]))
    return took


def main(rounds: int, folder: Path, sizes: list[int]) -> None:
    comm = MPI.COMM_WORLD
    torch.set_num_threads(1)
    everybody = contests(folder, max(sizes))
    for nbytes in sizes:
        if comm.rank == 0:
            say("size", size=nbytes)
        for contest in everybody:
            for name, mine in take_turns(contest, rounds, nbytes).items():
                slowest = [max(times) for times in zip(*comm.allgather(mine), strict=True)]
                if comm.rank == 0:
                    say("measured", size=nbytes, name=name, seconds=slowest[WARM_UP:])
    MPI.Finalize()
    os._exit(0)  # Gloo's threads must not outlive the interpreter


if __name__ == "__main__":
    live(SECONDS)
    main(int(sys.argv[1]), Path(sys.argv[2]), [int(size) for size in sys.argv[3:]])
