"""A process group that can be left behind and formed again.

A collective blocks inside Gloo, NCCL or MPI, and when a member dies some ranks stay blocked there
for minutes: the word that frees them comes from outside, from a failure detector. So each group
owns one thread on which its collectives run, and the caller waits for *either* the end of the
collective *or* a word from the detector. On that word the group is abandoned: its thread, its
descriptors and its buffers stay behind, never to be used again (an abandoned all-reduce has been
seen to write into its tensor a second later), and a new group is formed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor
from torch.distributed import AllreduceOptions, ReduceOp

from labkit import collectives, events
from labkit.collectives.detection import FailureDetector, Farewell, Observer
from labkit.collectives.link import Link
from labkit.collectives.links.shared_memory import SharedMemoryLink
from labkit.collectives.pending import Pending, PendingCopy
from labkit.collectives.polling import poll
from labkit.collectives.waiting import SLICE, could_be_a_death
from labkit.flight import FlightRecorder, said
from labkit.view import View

left_behind: list[Any] = []
"""Abandoned groups: dropping the last reference to a stuck one would block for ever. Each keeps
about 4 threads and 20 descriptors, so that a worker with many of them is better replaced."""


class Group:
    """The members of `view`, connected by `form()`'s link.

    `form() -> (link, process group or None)` runs on the group's own thread, since it blocks when
    a member does not come; so do the link's `connect()`, which a group that is left behind ends,
    and `share() -> SharedMemoryLink`, when it is first needed.
    `deadline` is in seconds of time in which this process was awake: a laptop that sleeps does not
    use it up. When it has passed `observer` explains.
    """

    def __init__(
        self,
        view: View,
        rank: int,
        form: Callable[[], tuple[Link, Any]],
        detector: FailureDetector,
        deadline: float = 60.0,
        share: Callable[[], SharedMemoryLink] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.view, self.members, self.size = view, view.members, len(view.members)
        self.rank = view.members.index(rank)
        self.deadline, self.observer = deadline, observer
        self.flight = FlightRecorder()
        self.changed = threading.Condition()
        self.dead: list[int] = []
        self.farewells: dict[int, Farewell] = {}
        # The last collective's number, of which forming is the first. One that was refused, as a
        # mistake in the call, has a number too.
        self.started = self.completed = 0
        self.abandoned = False
        self.superseded = False  # by a newer view
        self.link: Link
        self.process_group: Any = None
        self._share = share
        self._shared: SharedMemoryLink | None = None
        self._buckets: list[Tensor] = []
        self._tasks: SimpleQueue[Pending | None] = SimpleQueue()
        self._beside: events.Span | None = None  # what the group's own thread is in
        self.thread = threading.Thread(target=self._serve, name=f"group of {view}", daemon=True)
        self._unsubscribe = detector.subscribe(view, self)
        self.thread.start()
        if observer is not None:
            observer.watch(self)
        with events.span("forming group", view=view.number, members=view.members):
            forming = self.submit(lambda: self._form(form), "forming the group")
            try:
                forming.wait()
            except BaseException:  # also an interrupt: nothing of it may stay subscribed
                self.abandon()
                raise

    # -- the collectives: places in the group count from 0, whatever the ranks

    def all_reduce(self, tensor: Tensor, op: str = "sum", algorithm: str = "ring") -> Tensor:
        """Every member's tensor becomes the combination of all; in place, and returned."""
        with events.span("all-reduce", bytes=tensor.nbytes, algorithm=algorithm):
            return self._start_all_reduce(tensor, op, algorithm).wait()

    def all_reduce_async(
        self, tensor: Tensor, op: str = "sum", algorithm: str = "ring"
    ) -> PendingCopy:
        """The same without waiting: the tensor is changed by the `wait()` of what is returned.

        The record shows it on the group's own thread, beside what the caller does meanwhile.
        """
        span = events.span("all-reduce", bytes=tensor.nbytes, algorithm=algorithm, thread="group")
        return self._start_all_reduce(tensor, op, algorithm, span)

    def _start_all_reduce(
        self,
        tensor: Tensor,
        op: str,
        algorithm: str,
        span: events.Span | None = None,
    ) -> PendingCopy:
        own = self._own(tensor)

        def task() -> None:
            self._beside = span
            with span or nullcontext():
                self._end_what_is_left()
                if algorithm == "builtin":
                    self._builtin(own, op)
                else:
                    link = self._shared_link() if algorithm == "shared_memory" else self.link
                    collectives.all_reduce(link, own, op, algorithm)

        what = said("all_reduce", tensor, op, algorithm)
        return PendingCopy(self.submit(task, "all_reduce", what), own, tensor)

    def broadcast(self, tensor: Tensor, source: int = 0) -> Tensor:
        return self._in_place(tensor, "broadcast", source)

    def reduce(self, tensor: Tensor, op: str = "sum", target: int = 0) -> Tensor:
        return self._in_place(tensor, "reduce", op, target)

    def scatter(
        self, tensor: Tensor, pieces: Sequence[Tensor] | None = None, source: int = 0
    ) -> Tensor:
        copies = None if pieces is None else [piece.clone() for piece in pieces]
        return self._in_place(tensor, "scatter", copies, source)

    def gather(self, tensor: Tensor, target: int = 0) -> list[Tensor] | None:
        return self._run("gather", tensor.detach().clone(), target)

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        return self._run("all_gather", tensor.detach().clone())

    def reduce_scatter(self, tensor: Tensor, op: str = "sum") -> Tensor:
        return self._run("reduce_scatter", tensor.detach().clone(), op)

    def barrier(self) -> None:
        self._run("barrier")

    def bucket(
        self, elements: int, dtype: torch.dtype = torch.float32, shared: bool = False
    ) -> Tensor:
        """A 1-D tensor that belongs to the group: collectives work in it without a copy. It must
        not be used after the group is gone. With `shared` it lies in memory that all members see,
        for the algorithm "shared_memory": all members ask for it, in the same order."""
        if shared:
            nbytes = elements * dtype.itemsize
            what = said("bucket", nbytes)
            make = self.submit(lambda: self._shared_link().bucket(nbytes), "making a bucket", what)
            bucket = make.wait().view(dtype)
        else:
            device = getattr(self.link, "device", "cpu")
            bucket = torch.zeros(elements, dtype=dtype, device=device)
        self._buckets.append(bucket)
        return bucket

    def submit(self, task: Callable[[], Any], name: str, what: str = "") -> Pending:
        """Runs a collective of the caller's own on the group's thread, after those before it;
        `what` it is must be the same on all members."""
        pending = Pending(self, task, name, what or name)
        self._tasks.put(pending)
        return pending

    # -- leaving

    def abandon(self) -> None:
        """Leaves the group behind, with whatever its thread is stuck in. Any thread."""
        with self.changed:
            if self.abandoned:
                return
            self.abandoned = True
            left_behind.append(self)
            links = [link for link in (getattr(self, "link", None), self._shared) if link]
            self.changed.notify_all()
        self._unsubscribe()
        for link in links:
            link.abandon()
        self._tasks.put(None)
        self._end_what_is_left()

    def _end_what_is_left(self) -> None:
        """The record shall not show for ever what the group's thread is stuck in."""
        if self.abandoned and self._beside is not None:
            self._beside.end(error="Abandoned")

    def close(self) -> None:
        """Ends a group in which nothing is stuck, and gives its threads and descriptors back."""
        if self.abandoned:
            return
        self._unsubscribe()
        self._tasks.put(None)
        self.thread.join(SLICE)
        if self.thread.is_alive():
            self.abandon()
            return
        self.abandoned = True
        for link in (self.link, self._shared):
            if link is not None:
                link.close()
        self.process_group = None

    # -- inside

    def _serve(self) -> None:
        while (pending := self._tasks.get()) is not None:
            pending.run()
            if could_be_a_death(pending.error):
                # It broke off half-way. What comes after it would reach peers that are still in it,
                # and Gloo ends a process that receives more bytes than it expects.
                return

    def _form(self, form: Callable[[], tuple[Link, Any]]) -> None:
        """From here on whoever leaves the group ends what it waits for."""
        link, process_group = form()
        with self.changed:
            self.link, self.process_group = link, process_group
            left = self.abandoned
        if left:
            link.abandon()
        link.connect()

    def _run(self, name: str, *arguments: Any) -> Any:
        collective = getattr(collectives, name)
        with events.span(name.replace("_", "-")):
            what = said(name, *arguments)
            return self.submit(lambda: collective(self.link, *arguments), name, what).wait()

    def _in_place(self, tensor: Tensor, name: str, *arguments: Any) -> Tensor:
        own = self._own(tensor)
        self._run(name, own, *arguments)
        return tensor if own is tensor else tensor.detach().copy_(own)

    def _own(self, tensor: Tensor) -> Tensor:
        """What the group's thread may write into: a bucket of the group, or a copy."""
        mine = tensor.untyped_storage().data_ptr() if tensor.numel() else 0
        if any(bucket.untyped_storage().data_ptr() == mine for bucket in self._buckets):
            return tensor
        return tensor.detach().clone()

    def _builtin(self, tensor: Tensor, op: str) -> None:
        """torch.distributed's own all-reduce, for comparison."""
        options = AllreduceOptions()
        options.reduceOp = getattr(ReduceOp, "SUM" if op == "avg" else op.upper())
        work = self.process_group.allreduce([tensor], options)
        if self.link.grouped:
            poll(self.link, work.is_completed)  # `wait` would only tell the GPU to
        work.wait()
        if op == "avg":
            tensor.div_(self.size)

    def _shared_link(self) -> SharedMemoryLink:
        if self._shared is None:
            if self._share is None:
                raise ValueError("this group has no shared memory: its members are on many hosts")
            self._shared = self._share()
        return self._shared

    def on_death(self, rank: int) -> None:
        with self.changed:
            self.dead.append(rank)
            self.changed.notify_all()

    def on_farewell(self, rank: int, farewell: Farewell) -> None:
        with self.changed:
            self.farewells[rank] = farewell
            self.changed.notify_all()

    def on_next_view(self) -> None:
        with self.changed:
            self.superseded = True
            self.changed.notify_all()

    @property
    def outdated(self) -> bool:
        """Once it is formed its members leave it together; a part of them may never have come."""
        return self.superseded and not self.completed

    @property
    def lost(self) -> int | None:
        """The member that was the first to die."""
        return self.dead[0] if self.dead else None
