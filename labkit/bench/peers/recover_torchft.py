"""recover_torchft.py RANKS: a replica group of torchft for each rank, all-reducing 4 MB on Gloo.

With short time-outs: the lighthouse takes a replica for dead after a second without a heartbeat and
waits as long for one that may yet join, and an operation has a second; by default these are five
seconds and two times a minute. Torchft hides a failed all-reduce until the vote on the step, so
nobody says when it was left; "recovered" is the first step that the survivors commit.
"""

import sys
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torchft import Manager, ProcessGroupGloo  # type: ignore
from torchft.coordination import LighthouseServer  # type: ignore

from labkit.bench.peers.recover_gloo import FLOATS, WARM_UP
from labkit.bench.peers.say import live, say

SECOND = timedelta(seconds=1)


def replica(rank: int, ranks: int, lighthouse: str) -> None:
    live()
    store = dist.TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
    manager = Manager(
        pg=ProcessGroupGloo(timeout=SECOND),
        load_state_dict=lambda state: None,
        state_dict=dict,
        min_replica_size=ranks - 1,
        timeout=SECOND,
        rank=0,  # of the one process of this replica group
        world_size=1,
        store_addr="127.0.0.1",
        store_port=store.port,
        lighthouse_addr=lighthouse,
        replica_id=f"rank{rank}",
        hostname="127.0.0.1",
    )
    bucket = torch.ones(FLOATS)
    together = 0  # steps that all have committed
    while True:
        manager.start_quorum()
        manager.allreduce(bucket.fill_(1.0)).wait()
        if not manager.should_commit():
            continue
        if manager.num_participants() == ranks:
            together += 1
            if together == WARM_UP:
                say("stepping", rank=rank)
        elif together >= WARM_UP:
            together = 0
            say("recovered", rank=rank)


if __name__ == "__main__":
    live()
    ranks = int(sys.argv[1])
    lighthouse = LighthouseServer(
        bind="127.0.0.1:0",
        min_replicas=ranks - 1,
        join_timeout_ms=1000,
        quorum_tick_ms=50,
        heartbeat_timeout_ms=1000,
    )
    args = (ranks, lighthouse.address())
    context = mp.start_processes(replica, args, ranks, join=False, start_method="spawn")
    for process in context.processes:
        process.join()  # not context.join(): it would end the survivors with the dead
