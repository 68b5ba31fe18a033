"""Workers that somebody else starts, and starts anew: Kubernetes, or you by hand.

    LABKIT_TOKEN=… LABKIT_RANK=2 LABKIT_LIFE=-1 python -m labkit.worker --join HOST:PORT

LABKIT_LISTEN is where the driver waits for them, ADDRESS:PORT; unless it is told, that is loopback.
The token, 64 hexadecimal digits, is in its environment as it is in theirs. A life of -1 is the next
one, as the driver counts.
"""

from __future__ import annotations

import os
import socket

from labkit.runtime.address import host_name
from labkit.runtime.launch.launcher import AWAY_SILENCE, Launcher
from labkit.runtime.launch.process import OnExit, OnOutput, Process
from labkit.runtime.loop import Loop

NEEDED = "launcher='outside' needs LABKIT_TOKEN: 64 hexadecimal digits, the same for all workers"


class OutsideLauncher(Launcher):
    """Starts nobody. A worker on another machine gets no signal from here: kill it there."""

    name = "outside"
    replaces = True
    start_seconds = 3600.0  # they may have to queue, and to load their image

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        try:
            self.token = bytes.fromhex(os.environ["LABKIT_TOKEN"])
        except (KeyError, ValueError):
            raise ValueError(NEEDED) from None
        if len(self.token) != 32:
            raise ValueError(NEEDED)
        self.address, _, self.port = os.environ.get("LABKIT_LISTEN", "127.0.0.1:0").rpartition(":")
        self.silence = None if self.address.startswith("127.") else AWAY_SILENCE

    def bind(self) -> socket.socket:
        return socket.create_server((self.address, int(self.port)), backlog=128)

    def start(
        self,
        join: str,
        ranks: list[tuple[int, int]],
        environment: dict[str, str],
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> list[Process]:
        numbers = ", ".join(str(rank) for rank, _ in ranks)
        print(f"{join} waits for ranks {numbers}", flush=True)
        return []

    def here(self, host: str) -> bool:
        return host == host_name()

    def reaches(self, host: str) -> bool:
        return self.here(host)
