"""launch_lab.py RANKS LAUNCHES: the lab starts clusters in turn, each runs a function, each ends.

Not a peer, but measured as they are: a program of its own. The first launch starts the fork server
as well; the later ones find it warm.
"""

import sys
import time
from typing import Any

import torch

from labkit import Cluster
from labkit.bench.peers.say import live, say


def enter(worker: Any) -> float:
    """What a rank does first: the same as in the peers."""
    torch.ones(1).sum()
    return time.monotonic()


if __name__ == "__main__":
    live()
    ranks, launches = int(sys.argv[1]), int(sys.argv[2])
    for launch in range(launches):
        say("launch", launch=launch)
        with Cluster(ranks, backend="gloo", device="cpu") as cluster:
            results = cluster.run(enter).wait(timeout=30).results
        for rank, entered in results.items():
            say("ready", rank=rank, launch=launch, time=entered)
