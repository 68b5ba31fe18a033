"""launch_multiprocessing.py METHOD RANKS LAUNCHES: torch.multiprocessing starts ranks, in turn.

METHOD is "spawn" (a new interpreter imports torch for each rank) or "forkserver" (a server imports
torch once, in the first launch, and each rank is forked from it).
"""

import sys

import torch
import torch.multiprocessing as mp

from labkit.bench.peers.say import live, say


def rank_main(rank: int, launch: int) -> None:
    live()
    torch.ones(1).sum()
    say("ready", rank=rank, launch=launch)


if __name__ == "__main__":
    method, ranks, launches = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if method == "forkserver":
        mp.set_forkserver_preload(["torch"])
    for launch in range(launches):
        say("launch", launch=launch)
        mp.start_processes(rank_main, args=(launch,), nprocs=ranks, start_method=method)
