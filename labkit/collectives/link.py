"""A `Link` carries tensors between the ranks of one group; every algorithm is written over it.

The whole seam is one call, `transfer`: a group of sends and receives that start together. That is
what MPI's `Isend`/`Irecv`, Gloo's unbound buffers and NCCL's grouped point-to-point calls have in
common, and NCCL needs the grouping: a ring of ranks that all send before they receive waits for
ever (torch.distributed.batch_isend_irecv says the same).

Links carry bytes and do no arithmetic. Messages between two ranks arrive in the order in which
they were sent, and a receive names the size that it expects.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from labkit import faults

NOT_IN_A_ROW = "a link moves the bytes of contiguous tensors: send tensor.contiguous()"

Message = tuple[Tensor, int]
"""A contiguous tensor and the place of the other rank."""


def raw(tensor: Tensor) -> Tensor:
    """The bytes of a contiguous tensor, as a 1-D uint8 tensor over the same memory."""
    return tensor.view(-1).view(torch.uint8)


class Abandoned(RuntimeError):
    """The group was left behind, or a deadline passed, while this rank waited for its peers."""


class Pending(Protocol):
    """A transfer under way."""

    def wait(self) -> None:
        """Returns when the sent tensors may be changed and the received ones are filled."""


@dataclass
class Traffic:
    """What one rank has sent and received, counted when a transfer starts; payload bytes only."""

    sent_bytes: int = 0
    sent_messages: int = 0
    received_bytes: int = 0
    received_messages: int = 0

    def copy(self) -> Traffic:
        return replace(self)

    def __sub__(self, earlier: Traffic) -> Traffic:
        return Traffic(
            self.sent_bytes - earlier.sent_bytes,
            self.sent_messages - earlier.sent_messages,
            self.received_bytes - earlier.received_bytes,
            self.received_messages - earlier.received_messages,
        )


class Link(ABC):
    """This rank's end of a group of `size` ranks, of which it has place `rank`.

    `members` gives the cluster's rank at each place of the group: faults speak of those.
    """

    grouped = False
    """Whether sends and receives that belong together must start in one transfer (NCCL)."""

    def __init__(self, rank: int, size: int, members: Sequence[int] | None = None) -> None:
        self.rank, self.size = rank, size
        self.members = tuple(range(size) if members is None else members)
        if len(self.members) != size or not 0 <= rank < size:
            raise ValueError(f"rank {rank} of {size} does not fit the members {self.members}")
        self.traffic = Traffic()
        self.device = torch.device("cpu")  # where a collective keeps tensors of its own
        self._abandoned = threading.Event()
        self._scratch = torch.empty(0, dtype=torch.uint8)

    @property
    def left(self) -> int:
        """The neighbour before this rank, around the ring."""
        return (self.rank - 1) % self.size

    @property
    def right(self) -> int:
        """The neighbour after this rank, around the ring."""
        return (self.rank + 1) % self.size

    def connect(self) -> None:  # noqa: B027 (most have nothing to do)
        """Waits for the other members, where that is not done when the link is made."""

    def transfer(self, sends: Sequence[Message] = (), receives: Sequence[Message] = ()) -> Pending:
        """Starts a group of sends `(tensor, to)` and receives `(tensor, source)` together.

        A faulty link holds the sender here, before anything of the group starts: the whole of it,
        since a group that is only half posted can deadlock NCCL. Raises Abandoned.
        """
        self.check()
        # Both ends know the size of a message, so an empty one need not travel.
        sends = [message for message in sends if message[0].numel()]
        receives = [message for message in receives if message[0].numel()]
        traffic = self.traffic
        for tensor, to in sends:
            if not tensor.is_contiguous() or tensor.is_conj():
                raise ValueError(NOT_IN_A_ROW)
            self.hold(to)
            traffic.sent_bytes += tensor.nbytes
            traffic.sent_messages += 1
        for tensor, _ in receives:
            if not tensor.is_contiguous() or tensor.is_conj():
                raise ValueError(NOT_IN_A_ROW)
            traffic.received_bytes += tensor.nbytes
            traffic.received_messages += 1
        return self._start(sends, receives)

    @abstractmethod
    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> Pending:
        """Starts the group on what the link is made of."""

    def send(self, tensor: Tensor, to: int) -> None:
        """Sends and waits until `tensor` may be changed."""
        self.transfer(sends=[(tensor, to)]).wait()

    def receive(self, tensor: Tensor, source: int) -> None:
        """Fills `tensor` with the next message from `source`."""
        self.transfer(receives=[(tensor, source)]).wait()

    def hold(self, to: int) -> None:
        """Keeps the sender as long as the faults in force on the link to `to` say.

        A cut link holds it until it heals, a slow one by its delay, a lossy one by one time-out
        for each loss: the streams beneath are reliable, so a lost message is only a late one.
        """
        conditions = faults.conditions
        ends = self.members[self.rank], self.members[to]
        while (state := conditions.link(*ends)).cut:
            with conditions.changed:
                if not self.abandoned and conditions.link(*ends).cut:
                    conditions.changed.wait()
            self.check()
        while conditions.random.random() < conditions.link(*ends).drop:
            self._abandoned.wait(faults.RETRANSMIT)
            self.check()
        if state.delay:
            self._abandoned.wait(state.delay)
            self.check()

    def scratch(self, like: Tensor) -> Tensor:
        """Room for a 1-D tensor like this one; kept from call to call, since the pages of fresh
        memory cost as much time as the arithmetic in them."""
        if self._scratch.nbytes < like.nbytes or self._scratch.device != like.device:
            self._scratch = torch.empty(like.nbytes, dtype=torch.uint8, device=like.device)
        return self._scratch[: like.nbytes].view(like.dtype)

    def abandon(self) -> None:
        """Makes this rank leave, from any thread: every later call and every wait that polls
        raises Abandoned. A wait inside Gloo or MPI cannot be left; its thread stays behind."""
        self._abandoned.set()
        with faults.conditions.changed:
            faults.conditions.changed.notify_all()

    @property
    def abandoned(self) -> bool:
        return self._abandoned.is_set()

    def check(self) -> None:
        if self._abandoned.is_set():
            raise Abandoned(f"rank {self.members[self.rank]} has left this group; form a new one")

    def close(self) -> None:  # noqa: B027 - most links hold nothing that needs closing
        """Gives back what the link holds. The tensors that it was given stay the caller's."""
