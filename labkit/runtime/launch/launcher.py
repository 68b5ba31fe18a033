"""What a cluster asks of whoever starts its workers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import partial

import psutil

from labkit.runtime import wire
from labkit.runtime.launch import courier
from labkit.runtime.launch.courier import Courier
from labkit.runtime.launch.network import Network
from labkit.runtime.launch.process import OnExit, OnOutput, Process
from labkit.runtime.loop import Loop

AWAY_SILENCE = 3.0
"""Seconds. A machine that has lost its power closes no connection: only its silence tells. Less may
cost a rank its life where heartbeats have to wait for busy cores."""


class Launcher:
    """As it is where all workers run on this machine."""

    name: str
    replaces = False
    """Whether it starts a dead rank anew by itself, and counts for each how often: nobody else is
    to do it then."""
    network: Network | None = None
    """Of the hosts, where they are not this machine."""
    token: bytes | None = None
    """Of the cluster, where it is not the driver that passes it on."""
    start_seconds = 60.0
    """How long a new cluster may take until all are there."""
    silence: float | None = None
    """Seconds after which somebody who says nothing is as good as dead, unless `Cluster` is told
    otherwise; None: only a closed connection counts, as it does on one machine."""

    on_loss: Callable[[list[tuple[int, int]]], None]
    """Called in the loop's thread with the (rank, life) of those whose host is known to be lost."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._met: dict[int, psutil.Process] = {}  # workers on this machine
        self._began: dict[tuple[str, int], int] = {}  # those of others
        self._couriers: dict[tuple[str, int], Courier] = {}  # to them

    def bind(self) -> socket.socket:
        """Where the driver listens."""
        return wire.bind("127.0.0.1")

    def start(
        self,
        join: str,
        ranks: list[tuple[int, int]],
        environment: dict[str, str],
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> list[Process]:
        """Starts one worker for each (rank, life): all of a new cluster, with the witness as the
        last, or a single later life. Returns as soon as they are on their way."""
        raise NotImplementedError

    def here(self, host: str) -> bool:
        """Whether the processes of the workers on this host are processes of this machine."""
        return True

    def meet(self, host: str, pid: int, began: int) -> bool:
        """A worker has said where it is, a moment ago. False if another process has that number
        here, as where a container counts for itself: no signal reaches the worker then."""
        if not self.here(host):
            self._began[host, pid] = began
        elif courier.began(pid) not in (began, 0):  # 0: it has just ended
            return False
        else:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._met[pid] = psutil.Process(pid)
        return True

    def signal(self, host: str, pid: int, number: int) -> None:
        """To a process of a worker that was met, and to no later one with its number. Does not
        wait. Raises ProcessLookupError where it is known to have ended."""
        try:
            if self.here(host):
                self._met[pid].send_signal(number)
            else:
                began, new = self._began[host, pid], Courier(partial(self.run_on, host))
                self._couriers.setdefault((host, pid), new).send((number, began, pid))
        except (KeyError, psutil.NoSuchProcess):
            raise ProcessLookupError(f"process {pid} has ended") from None

    def reaches(self, host: str) -> bool:
        """Whether it can send signals to processes there."""
        return True

    def run_on(self, host: str, command: list[str]) -> None:
        """Runs a command on another host, to its end."""

    def lost(self, host: str) -> None:
        """That host does not answer any more."""

    def close(self) -> None:
        """The cluster is over, and its processes have ended."""
