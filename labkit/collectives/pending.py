"""A collective that is under way on its group's thread, and what its caller holds meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from labkit.collectives.waiting import wait_for

if TYPE_CHECKING:
    from labkit.collectives.group import Group


class Pending:
    """A collective under way on the group's thread."""

    def __init__(self, group: Group, task: Callable[[], Any], name: str, what: str) -> None:
        self.group, self.task, self.name = group, task, name
        self.value: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self.stream = _stream()
        group.started += 1
        self.number = group.started  # the same on all members, which call in the same order
        self.call = group.flight.queued(self.number, what)

    def done(self) -> bool:
        return self.ended

    def wait(self) -> Any:
        """The collective's result. Raises PeerLost, CollectiveTimeout, or what it raised."""
        return wait_for(self.group, self)

    def run(self) -> None:
        self.call.turn("started")
        try:
            with self.stream:
                self.value = self.task()
        except BaseException as error:
            self.error = error
        self.call.turn("completed" if self.error is None else "failed")
        with self.group.changed:
            self.ended = True
            if self.error is None:
                self.group.completed = self.number
            self.group.changed.notify_all()


def _stream() -> AbstractContextManager[Any]:
    """Has another thread's work follow what this thread has given the GPU so far: each thread has
    a present stream of its own, and streams are not in order with each other."""
    if not torch.cuda.is_initialized():
        return nullcontext()
    return torch.cuda.stream(torch.cuda.current_stream())


class PendingCopy:
    """An all-reduce on the group's copy of a tensor, which `wait` writes back."""

    def __init__(self, pending: Pending, own: Tensor, tensor: Tensor) -> None:
        self.pending, self.own, self.tensor = pending, own, tensor

    def done(self) -> bool:
        return self.pending.done()

    def wait(self) -> Tensor:
        self.pending.wait()
        if self.own is not self.tensor:
            self.tensor.detach().copy_(self.own)
        return self.tensor
