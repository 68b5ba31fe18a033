"""failover_lab.py MODE TIMES SEED: the leader of five Raft nodes is killed, TIMES times.

MODE is "timeout" (a follower learns of the death by its election time-out alone) or "connection"
(it also hears that the connection to the leader is closed). Not a peer, but measured as they are: a
program of its own.
"""

import os
import random
import signal
import sys
import time
from functools import partial
from typing import Any

from labkit import Cluster, events
from labkit.bench.peers.say import live, say
from labkit.protocols.effects import Effects
from labkit.protocols.raft import Raft

NODES, TIMEOUT = 5, 0.15
SETTLED = 0.3  # seconds after a return: the node has caught up, and hears the leader's beats
WITHIN = 10.0


class Deaf(Raft):
    """Does not hear of closed connections."""

    def on_suspect(self, peer: int) -> Effects:
        yield from ()


NODE = {"timeout": Deaf, "connection": Raft}


def idle(worker: Any) -> None:
    """What the nodes run next to."""
    while True:
        time.sleep(0.1)


def leaders(cluster: Cluster) -> list[tuple[float, int]]:
    """When who became leader, in order."""
    assert cluster.directory is not None
    files = (cluster.directory / "events").glob("rank*")
    recorded = [event for file in files for event in events.read(file)]
    return sorted((e.time, e.rank) for e in recorded if e.name == "becomes leader")


def leader_after(cluster: Cluster, moment: float) -> float:
    """When the first leader after that moment was elected. Raises TimeoutError."""
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        if later := [at for at, _ in leaders(cluster) if at > moment]:
            return later[0]
        time.sleep(0.005)
    raise TimeoutError(f"no leader within {WITHIN:g} s")


def kill_leaders(mode: str, times: int, dice: random.Random) -> None:
    raft = partial(NODE[mode], timeout=TIMEOUT)
    with Cluster(NODES, backend="gloo", device="cpu", protocols={"raft": raft}) as cluster:
        cluster.run(idle)
        leader_after(cluster, 0.0)
        for _ in range(times):
            time.sleep(SETTLED + dice.uniform(0.0, TIMEOUT))
            leader = leaders(cluster)[-1][1]
            pid = cluster._driver.seats[leader].pid
            assert pid is not None
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            say("elected", after=leader_after(cluster, killed) - killed)
            cluster.restart(leader)


if __name__ == "__main__":
    live(300)
    kill_leaders(sys.argv[1], int(sys.argv[2]), random.Random(int(sys.argv[3])))
