"""A link between the threads of one process, for tests and for drawings."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from torch import Tensor

from labkit.collectives.link import Link, Message


class MemoryLink(Link):
    """One of the ends that `memory_links` makes."""

    def __init__(
        self,
        rank: int,
        size: int,
        mail: dict[tuple[int, int], deque[Tensor]],
        arrived: threading.Condition,
    ) -> None:
        super().__init__(rank, size)
        self.mail, self.arrived = mail, arrived

    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> _Receives:
        with self.arrived:
            for tensor, to in sends:
                self.mail[self.rank, to].append(tensor.clone())
            self.arrived.notify_all()
        return _Receives(self, receives)

    def take(self, source: int) -> Tensor:
        box = self.mail[source, self.rank]
        with self.arrived:
            self.arrived.wait_for(lambda: box or self.abandoned)
            self.check()
            return box.popleft()

    def abandon(self) -> None:
        super().abandon()
        with self.arrived:
            self.arrived.notify_all()


class _Receives:
    def __init__(self, link: MemoryLink, receives: Sequence[Message]) -> None:
        self.link, self.receives = link, receives

    def wait(self) -> None:
        for tensor, source in self.receives:
            message = self.link.take(source)
            if message.nbytes != tensor.nbytes or message.dtype != tensor.dtype:
                raise ValueError(
                    f"rank {self.link.rank} expects {tensor.numel()} {tensor.dtype} from rank "
                    f"{source}, which sent {message.numel()} {message.dtype}: "
                    "all ranks must call the same collective with the same shape and type"
                )
            tensor.view(-1).copy_(message.view(-1))


def memory_links(size: int) -> list[MemoryLink]:
    """The ends of a group of `size` ranks, one for each thread."""
    mail: dict[tuple[int, int], deque[Tensor]] = {
        (a, b): deque() for a in range(size) for b in range(size)
    }
    arrived = threading.Condition()
    return [MemoryLink(rank, size, mail, arrived) for rank in range(size)]
