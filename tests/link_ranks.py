"""Ranks as real processes, for test_links.py.

`python link_ranks.py` imports torch once and then forks, for each line `WORK SIZE FOLDER PORTABLE`
that it reads, SIZE ranks that run the function WORK; it answers with their pids, and with `ended`
when all have. A rank leaves in FOLDER/<rank> what its function returned, or the type and words of
what it raised. Under `mpiexec`, with FOLDER as its argument, every process is a rank already.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from torch.distributed import FileStore, ProcessGroupGloo

from labkit import collectives
from labkit.collectives import Link
from labkit.collectives.link import Abandoned
from labkit.collectives.links import segment
from labkit.collectives.links.shared_memory import SharedMemoryLink
from labkit.collectives.links.torch_p2p import TorchLink, wait_for_the_left
from labkit.collectives.process_group import form

SHAPES = [(), (0,), (7,), (3, 5), (100_003,)]
DTYPES = [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]


def store(size: int, folder: Path) -> FileStore:
    """Keys and values in a file; a key that nobody sets is given up after 20 s."""
    made = FileStore(str(folder / "store"), size)
    made.set_timeout(timedelta(seconds=20))
    return made


def gloo(rank: int, size: int, folder: Path) -> Link:
    options = ProcessGroupGloo._Options()
    options._devices = [ProcessGroupGloo.create_device(hostname="127.0.0.1")]
    return TorchLink(ProcessGroupGloo(store(size, folder), rank, size, options), "gloo")


def shared(rank: int, size: int, folder: Path, deadline: float = 60.0) -> SharedMemoryLink:
    return SharedMemoryLink(rank, size, store(size, folder), deadline=deadline)


# -- what the ranks do


def every_collective(link: Link) -> str:
    """Raises AssertionError unless all are right. Values: small, exact in every type."""
    n, rank = link.size, link.rank
    shared_memory = isinstance(link, SharedMemoryLink)
    for algorithm, dtype, shape in itertools.product(collectives.ALGORITHMS, DTYPES, SHAPES):
        if algorithm == "shared_memory" and not shared_memory:
            continue
        op, total = ("max", 1) if dtype is torch.bool else ("sum", n * (n + 1) // 2)
        tensor = torch.full(shape, rank + 1).to(dtype)
        collectives.all_reduce(link, tensor, op, algorithm)
        assert tensor.equal(torch.full(shape, total).to(dtype)), (algorithm, dtype, shape)
    for dtype, shape in itertools.product(DTYPES, SHAPES):
        mine = torch.full(shape, rank % 2).to(dtype)
        all_of_them = [torch.full(shape, r % 2).to(dtype) for r in range(n)]
        assert collectives.broadcast(link, mine.clone(), n - 1).equal(all_of_them[n - 1])
        assert same(collectives.all_gather(link, mine), all_of_them)
        gathered = collectives.gather(link, mine, n - 1)
        assert gathered is None or same(gathered, all_of_them)
        got = collectives.scatter(link, mine.clone(), all_of_them if rank == 0 else None, 0)
        assert got.equal(mine)
        op, total = ("max", 1) if dtype is torch.bool else ("sum", n // 2)
        whole = torch.full(shape, total).to(dtype)
        reduced = collectives.reduce(link, mine.clone(), op, 0)
        assert reduced.equal(whole if rank == 0 else mine)
        chunk = collectives.reduce_scatter(link, mine, op)
        assert chunk.equal(whole.flatten().tensor_split(n)[rank])
    before = link.traffic.copy()
    collectives.all_reduce(link, torch.ones(n * 1000), "sum", "ring")
    assert (link.traffic - before).sent_bytes == 2 * (n - 1) * 4000
    collectives.barrier(link)
    return "all right"


def same(got: list[torch.Tensor], want: list[torch.Tensor]) -> bool:
    return all(a.equal(b) for a, b in zip(got, want, strict=True))


def over_gloo(rank: int, size: int, folder: Path) -> str:
    return every_collective(gloo(rank, size, folder))


def over_gloo_on_gpu(rank: int, size: int, folder: Path) -> str:
    torch.set_default_device("cuda:0")
    return every_collective(gloo(rank, size, folder))


def nccl(rank: int, size: int, folder: Path, gpu: int) -> Link:
    torch.set_default_device(f"cuda:{gpu}")
    return form("nccl", f"cuda:{gpu}", store(size, folder), rank, size, range(size))[0]


def nccl_on_one_gpu(rank: int, size: int, folder: Path) -> Link:
    os.environ["NCCL_HOSTID"] = f"host{rank}"
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    return nccl(rank, size, folder, gpu=0)


def over_nccl(rank: int, size: int, folder: Path) -> str:
    return every_collective(nccl(rank, size, folder, gpu=rank))


def over_nccl_on_one_gpu(rank: int, size: int, folder: Path) -> str:
    return every_collective(nccl_on_one_gpu(rank, size, folder))


def leave_nccl_on_one_gpu(rank: int, size: int, folder: Path) -> str:
    """Rank 0 waits for what rank 1 never sends, and leaves."""
    link = nccl_on_one_gpu(rank, size, folder)
    collectives.all_reduce(link, torch.ones(8), "sum", "ring")  # connects them
    if rank == 1:
        while not (folder / "left").exists():
            time.sleep(0.01)
        return "waited"
    pending = link.transfer(receives=[(torch.empty(1 << 20), 1)])
    threading.Timer(0.5, link.abandon).start()
    try:
        pending.wait()
    except Abandoned:
        wait_for_the_left()
        torch.cuda.synchronize()  # does not return while something on the GPU waits for rank 1
        (folder / "left").touch()
        return "left"
    return "had what was never sent"


def over_shared_memory(rank: int, size: int, folder: Path) -> str:
    descriptors = len(os.listdir("/dev/fd"))
    link = shared(rank, size, folder)
    answer = every_collective(link)
    bucket = link.bucket(1 << 20)
    bucket.fill_(rank)
    assert collectives.all_reduce(link, bucket, "max", "shared_memory").eq(size - 1).all()
    assert len(os.listdir("/dev/fd")) <= descriptors + 2, "more than one for each mapping"
    return answer


def over_mpi(rank: int, size: int, folder: Path) -> str:
    from mpi4py import MPI

    from labkit.collectives.links.mpi import MpiLink

    return every_collective(MpiLink(MPI.COMM_WORLD))


def until_abandoned(rank: int, size: int, folder: Path) -> str:
    """All-reduces until a peer is gone; another thread says so when the file `lost` appears."""
    return endless(shared(rank, size, folder), folder)


def until_deadline(rank: int, size: int, folder: Path) -> str:
    return endless(shared(rank, size, folder, deadline=3.0), folder)


def endless(link: SharedMemoryLink, folder: Path) -> str:
    def watch() -> None:
        while not (folder / "lost").exists():
            time.sleep(0.01)
        link.abandon()

    bucket = link.bucket(1 << 16)
    threading.Thread(target=watch, daemon=True).start()
    tensors = itertools.cycle([bucket, torch.ones(1 << 20), torch.ones(3)])
    for count, (tensor, algorithm) in enumerate(
        zip(tensors, itertools.cycle(["shared_memory", "ring"]), strict=False)
    ):
        collectives.all_reduce(link, tensor, "max", algorithm)
        if count == 10:
            (folder / f"busy{link.rank}").touch()
    raise AssertionError


def maker_dies(rank: int, size: int, folder: Path) -> str:
    """Rank 0 is killed between announcing its shared memory and filling it."""
    segment.PATIENCE = 0.5
    if rank == 0:
        segment._fill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    shared(rank, size, folder)
    raise AssertionError


def leave_behind(rank: int, size: int, folder: Path) -> str:
    """What is still mapped when a link is closed, and its bucket gone."""
    link = shared(rank, size, folder)
    bucket = link.bucket(1 << 20)
    assert "labkit" in Path("/proc/self/maps").read_text()
    link.close()
    assert bucket.eq(0).all(), "a bucket lives as long as its tensor"
    del bucket
    return " ".join(line for line in Path("/proc/self/maps").open() if "labkit" in line)


# -- the processes


def serve() -> None:
    for line in sys.stdin:
        work, size, folder, *portable = line.split()
        os.environ["LABKIT_PORTABLE"] = "".join(portable)
        pids = [fork(globals()[work], rank, int(size), Path(folder)) for rank in range(int(size))]
        print(*pids, flush=True)
        for pid in pids:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # none is reaped, so that until
        print("ended", flush=True)  # here every pid is the rank's own and may be killed
        for pid in pids:
            os.waitpid(pid, 0)


def fork(function: Callable[[int, int, Path], str], rank: int, size: int, folder: Path) -> int:
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(1)
        tempfile.tempdir = str(folder / "temporary")
        try:
            answer = function(rank, size, folder)
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
            traceback.print_exc()
        (folder / str(rank)).write_text(answer)
        os._exit(0)
    return pid


def be_a_rank(folder: Path) -> None:
    from mpi4py import MPI

    rank, size = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()
    (folder / str(rank)).write_text(over_mpi(rank, size, folder))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        be_a_rank(Path(sys.argv[1]))
    else:
        serve()
