"""Workers on hosts of their own, which are network namespaces of this machine."""

from __future__ import annotations

import socket

from labkit.runtime.launch.local import LocalLauncher
from labkit.runtime.launch.network import Host, Network
from labkit.runtime.loop import Loop


class HostsLauncher(LocalLauncher):
    """A rank, the witness and each spare has a host; where the cable is out when a rank is to have
    another life, that gets a new host."""

    silence = 1.0

    def __init__(self, loop: Loop, seed: int) -> None:
        super().__init__(loop)
        self.network: Network = Network(seed)
        self.homes: dict[int, Host] = {}

    def bind(self) -> socket.socket:
        return self.network.bind()

    def namespaces(self, rank: int) -> list[int]:
        home = self.homes.get(rank)
        if home is None or not home.plugged:
            home = self.homes[rank] = self.network.add()
        return [home.namespace.net, home.namespace.uts]

    def close(self) -> None:
        self.network.close()
