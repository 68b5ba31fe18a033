"""Faults of links, done to the network itself where each rank has a host of its own.

There TCP, Gloo and everything else feel them, as they would between machines: nothing in a process
knows of the fault. The driver is never cut off by a fault between ranks, and does not hear of a
rank whose cable is out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit import faults
from labkit.runtime.launch.network import Network
from labkit.runtime.seat import Seat

if TYPE_CHECKING:
    from labkit.runtime.driver import Driver


class Links:
    """Those between the ranks of `driver`, on `network`. Any thread may call."""

    def __init__(self, driver: Driver, network: Network) -> None:
        self.driver, self.network = driver, network

    def strike(self, fault: faults.Fault) -> None:
        """Does to the network what the fault says, if it is one of links."""
        match fault:
            case faults.LinkDown(rank):
                self._plug(self.driver.seats[rank], False)
            case faults.LinkUp(rank):
                self._plug(self.driver.seats[rank], True)
            case faults.Heal():
                self.network.impair({})
                for address in list(self.network.hosts):
                    self.network.plug(address, True)
            case _ if isinstance(fault, faults.OfLinks):
                self.enforce()

    def enforce(self) -> None:
        """The faults in force are those of where the ranks are now."""
        conditions = faults.Conditions()
        for fault in list(self.driver.in_force):
            conditions.apply(fault)
        where = {s.rank: s.address[0] for s in self.driver.seats.values() if s.address}
        self.network.impair(
            {
                (where[source], where[target]): state
                for (source, target), state in conditions.links.items()
                if source in where and target in where
            }
        )

    def _plug(self, seat: Seat, plugged: bool) -> None:
        if seat.address is not None:
            self.network.plug(seat.address[0], plugged)

    def is_down(self, seat: Seat) -> bool:
        """Whether the cable of its host is out."""
        host = self.network.hosts.get(seat.address[0]) if seat.address else None
        return host is not None and not host.plugged
