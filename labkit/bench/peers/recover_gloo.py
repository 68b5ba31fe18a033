"""One rank that all-reduces 4 MB with torch.distributed on Gloo, step after step, until killed.

Under torchrun, which restarts every rank when one dies, the restarted ranks join a new group: their
first all-reduce is the recovery. Started with a number of ranks as its argument, it starts them
itself and has no recovery: the ranks say when, if ever, they left the collective.
"""

import os
import signal
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from labkit.bench.peers.say import live, say

FLOATS = 1_000_000  # 4 MB
WARM_UP = 5


def steps(rank: int, life: int) -> None:
    bucket = torch.ones(FLOATS)
    for step in range(WARM_UP):
        dist.all_reduce(bucket)
        if step == 0 and life > 0:
            say("recovered", rank=rank)
            return
    say("stepping", rank=rank)
    try:
        while True:
            bucket.fill_(1.0)
            dist.all_reduce(bucket)
    except RuntimeError as error:
        say("out", rank=rank, error=str(error)[:80])
        if life == 0 and "TORCHELASTIC_RUN_ID" not in os.environ:
            signal.pause()  # stay, so that only the injected death can free the others
        raise


def plain_rank(rank: int, ranks: int, port: int) -> None:
    live()
    store = dist.TCPStore("127.0.0.1", port)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    steps(rank, life=0)


if __name__ == "__main__":
    live()
    if len(sys.argv) > 1:
        ranks = int(sys.argv[1])
        keeper = dist.TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
        args = (ranks, keeper.port)
        context = mp.start_processes(plain_rank, args, ranks, join=False, start_method="spawn")
        for process in context.processes:
            process.join()  # not context.join(): it would end the survivors with the dead
    else:
        dist.init_process_group("gloo")
        steps(dist.get_rank(), int(os.environ["TORCHELASTIC_RESTART_COUNT"]))
