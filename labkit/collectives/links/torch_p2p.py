"""A link over torch.distributed's point-to-point calls, on Gloo or on NCCL.

It holds a bare `ProcessGroupGloo` or `ProcessGroupNCCL` and not the global default group, so that
it can be left behind while another one is formed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed import Work

from labkit.collectives.link import Link, Message, Pending, raw
from labkit.collectives.polling import poll

CONNECT_SECONDS = 30.0
"""For all members of an NCCL group to come."""
LEAVE_SECONDS = 5.0
"""In which an NCCL group is normally gone from the GPU."""
_leaving: list[threading.Thread] = []


def wait_for_the_left() -> None:
    """Until NCCL groups that were left are gone from the GPU, or a reasonable time has passed.
    What frees a communicator, or makes one, may wait for every kernel on the device: also for one
    of an old group, which waits for a dead peer (pytorch/pytorch issue 119797)."""
    end = time.monotonic() + LEAVE_SECONDS
    for thread in list(_leaving):
        thread.join(max(0.0, end - time.monotonic()))
    _leaving[:] = [thread for thread in _leaving if thread.is_alive()]


def _in_the_background(leave: Callable[[], None], name: str) -> None:
    thread = threading.Thread(target=leave, name=name, daemon=True)
    _leaving.append(thread)
    thread.start()


class TorchLink(Link):
    """`backend` is "gloo" or "nccl"; the rank and size are the group's.

    Gloo moves the memory of the processor alone, so tensors on a GPU are staged through pinned
    copies. NCCL needs all tensors on `device`, and every rank must `connect` its link at the same
    time: a group whose first grouped call has only some of the ranks hangs
    (torch.distributed.batch_isend_irecv, last note).

    What NCCL cannot do: the first message between two ranks connects them inside its C++, for up to
    CONNECT_SECONDS where one of them has died. The caller leaves when the detector speaks; the
    group's thread stays behind until then.
    """

    def __init__(
        self,
        group: Any,  # torch.distributed.ProcessGroupGloo or ProcessGroupNCCL
        backend: str = "gloo",
        device: torch.device | str = "cpu",
        members: Sequence[int] | None = None,
    ) -> None:
        super().__init__(group.rank(), group.size(), members)
        if backend not in ("gloo", "nccl"):
            raise ValueError(f"no link over backend {backend!r}: use gloo or nccl")
        self.device = torch.device(device)
        self.group = group
        self.grouped = backend == "nccl"

    def connect(self) -> None:
        """An NCCL communicator that does not block is made in the background; the first collective
        shows that all members have come. Raises Abandoned when some do not."""
        if self.grouped:
            self.group.eager_connect_single_device(self.device)
            work = self.group.allreduce([torch.zeros(1, device=self.device)])
            _NcclTransfer(self, work).wait(CONNECT_SECONDS)

    def abandon(self) -> None:
        """Also ends what NCCL has on the GPU, which would wait there for a dead peer for ever, and
        keep others waiting behind it. May take a while, and does so on a thread of its own."""
        super().abandon()
        if self.grouped:
            _in_the_background(self.group.abort, "ncclCommAbort")

    def close(self) -> None:
        """NCCL's members leave together: what one has sent may not have arrived yet."""
        if self.grouped and not self.abandoned:
            _in_the_background(self._leave_together, "ncclCommFinalize")

    def _leave_together(self) -> None:
        try:
            self.group.shutdown()
        except RuntimeError:  # one of them has died meanwhile
            self.group.abort()

    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> Pending:
        if self.grouped:
            return self._start_grouped(sends, receives)
        # Receives first: a message that is already awaited goes straight to its place.
        works, staged = [], []
        for tensor, source in receives:
            if tensor.is_cuda:
                tensor, target = torch.empty_like(tensor, device="cpu", pin_memory=True), tensor
                staged.append((tensor, target))
            works.append(self.group.recv([tensor], source, _tag(tensor)))
        for tensor, to in sends:
            if tensor.is_cuda:
                tensor = torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor)
            works.append(self.group.send([tensor], to, _tag(tensor)))
        return _GlooTransfer(works, staged)

    def _start_grouped(self, sends: Sequence[Message], receives: Sequence[Message]) -> Pending:
        """One NCCL group: all sends and receives become one kernel, so no order can deadlock."""
        self.group._start_coalescing()
        try:
            for tensor, source in receives:
                self.group.recv([raw(tensor)], source, 0)
            for tensor, to in sends:
                self.group.send([raw(tensor)], to, 0)
        finally:
            work = self.group._end_coalescing()
        return _NcclTransfer(self, work)


def _tag(tensor: Tensor) -> int:
    """Messages of different sizes never meet: Gloo ends the process that receives more than it has
    room for (`op.preamble.length <= op.nbytes`), where two that wait can still say for what."""
    return tensor.nbytes & 0x3FFFFFFF


class _GlooTransfer:
    """Works in progress; they keep their tensors alive."""

    def __init__(self, works: list[Work], staged: list[tuple[Tensor, Tensor]]) -> None:
        self.works, self.staged = works, staged

    def wait(self) -> None:
        for work in self.works:
            work.wait()
        for host, tensor in self.staged:
            tensor.copy_(host, non_blocking=True)


class _NcclTransfer:
    """NCCL runs on the GPU's stream: the host asks an event and never waits for the device, which
    would not return when a peer is dead."""

    def __init__(self, link: TorchLink, work: Work | None) -> None:
        self.link, self.work = link, work

    def wait(self, deadline: float | None = None) -> None:
        if self.work is not None:
            poll(self.link, self.work.is_completed, deadline)
            self.work.wait()  # done already: orders the stream behind it, or raises its error
