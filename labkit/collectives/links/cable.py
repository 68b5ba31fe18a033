"""A link of a chosen speed, in slow motion.

The ranks of one machine share its memory: no rank has a wire of its own, so nobody can be held up
at the wire. `Cable` gives each rank one. It carries its messages over another link and then sleeps
for as long as a network card of that speed would still be at work. Sleeping needs no processor, so
many ranks wait side by side on two cores as they would on many machines.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from labkit.collectives.link import Link, Message, Pending


class Cable(Link):
    """`link` with a card that has `latency` seconds and moves `bandwidth` bytes per second.

    The messages of one transfer pass the card one behind the other, those that leave beside those
    that come in (full duplex); their latencies overlap. So a transfer takes
    latency + max(bytes out, bytes in) / bandwidth.
    """

    def __init__(self, link: Link, latency: float, bandwidth: float) -> None:
        super().__init__(link.rank, link.size, link.members)
        self.link, self.device = link, link.device
        self.latency, self.bandwidth = latency, bandwidth

    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> Pending:
        out, come = (sum(tensor.nbytes for tensor, _ in some) for some in (sends, receives))
        seconds = self.latency + max(out, come) / self.bandwidth if out + come else 0.0
        return _OnTheWire(self.link._start(sends, receives), seconds)

    def abandon(self) -> None:
        super().abandon()
        self.link.abandon()

    def close(self) -> None:
        self.link.close()


class _OnTheWire:
    def __init__(self, pending: Pending, seconds: float) -> None:
        self.pending, self.seconds = pending, seconds

    def wait(self) -> None:
        self.pending.wait()
        time.sleep(self.seconds)
