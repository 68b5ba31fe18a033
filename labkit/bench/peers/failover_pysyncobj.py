"""failover_pysyncobj.py TIMES SEED: the leader of five PySyncObj nodes is killed, TIMES times.

With a port as its third argument it is one of the nodes, and the ports behind are its peers.
"""

import os
import random
import select
import signal
import socket
import subprocess
import sys
import time

from labkit.bench.peers.say import live, say

NODES, TIMEOUT = 5, 0.15
SETTLED, WITHIN = 0.5, 30.0
LEADER = 2  # of PySyncObj's states


def node(port: str, *peers: str) -> None:
    from pysyncobj import SyncObj, SyncObjConf  # type: ignore

    def changed(old: int, new: int) -> None:
        if new == LEADER:
            os.write(1, f"{time.monotonic()}\n".encode())

    settings = SyncObjConf(
        raftMinTimeout=TIMEOUT,
        raftMaxTimeout=2 * TIMEOUT,
        appendEntriesPeriod=TIMEOUT / 4,  # it insists on more than three beats in a time-out
        onStateChanged=changed,
    )
    SyncObj(f"127.0.0.1:{port}", [f"127.0.0.1:{peer}" for peer in peers], settings)
    signal.pause()


def free_ports(count: int) -> list[str]:
    """PySyncObj wants its ports named beforehand."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(ports: list[str], i: int) -> subprocess.Popen[bytes]:
    others = [port for port in ports if port != ports[i]]
    command = [sys.executable, __file__, "0", "0", ports[i], *others]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


class Group:
    """The nodes, and what they have said: when who became leader."""

    def __init__(self) -> None:
        self.ports = free_ports(NODES)
        self.nodes = [start(self.ports, i) for i in range(NODES)]
        self.leaders: list[tuple[float, int]] = []

    def listen(self, seconds: float) -> None:
        """Takes what is said within that time, or at once if something has been."""
        living = [(i, n.stdout) for i, n in enumerate(self.nodes) if n.poll() is None]
        outputs = {stdout.fileno(): i for i, stdout in living if stdout is not None}
        for output in select.select(list(outputs), [], [], seconds)[0]:
            for line in os.read(output, 4096).split():
                self.leaders.append((float(line), outputs[output]))
        self.leaders.sort()

    def leader_after(self, moment: float) -> float:
        """When the first leader after that moment was elected. Raises TimeoutError."""
        end = time.monotonic() + WITHIN
        while not self.leaders or self.leaders[-1][0] <= moment:
            self.listen(0.05)
            if time.monotonic() > end:
                raise TimeoutError(f"no leader within {WITHIN:g} s")
        return next(at for at, _ in self.leaders if at > moment)

    def replace(self, i: int) -> None:
        self.nodes[i].wait()
        self.nodes[i] = start(self.ports, i)


def kill_leaders(times: int, dice: random.Random) -> None:
    group = Group()
    group.leader_after(0.0)
    for _ in range(times):
        time.sleep(SETTLED + dice.uniform(0.0, TIMEOUT))
        group.listen(0.0)  # a node that came back may have brought another election
        leader = group.leaders[-1][1]
        killed = time.monotonic()
        group.nodes[leader].kill()
        say("elected", after=group.leader_after(killed) - killed)
        group.replace(leader)
    for process in group.nodes:
        process.kill()
        process.wait()


if __name__ == "__main__":
    live(300)
    if len(sys.argv) > 3:
        node(*sys.argv[3:])
    else:
        kill_leaders(int(sys.argv[1]), random.Random(int(sys.argv[2])))
