"""`Worker`: what a function that runs on a rank is given as its first argument."""

from __future__ import annotations

import itertools
import math
import operator
import time
from collections.abc import Callable
from datetime import timedelta
from queue import Empty
from typing import TYPE_CHECKING, Any

import cloudpickle

from labkit import events, faults
from labkit.collectives.detection import Farewell, Listener
from labkit.collectives.group import Group
from labkit.runtime.committer import ViewCommitter
from labkit.runtime.following import Following
from labkit.runtime.host import Host
from labkit.runtime.messages import Parcel, Start, Welcome
from labkit.runtime.wire import MAX_FRAME
from labkit.view import Member, PeerLost, Superseded, View

if TYPE_CHECKING:
    import torch

    from labkit.checkpoint import Store
    from labkit.checkpoint.policy import OnSignal

FORMING_SECONDS = 10.0
"""A member that does not come within this time is taken for absent (Gloo's connect time-out)."""


class Worker:
    """One rank, as the function that runs on it sees it.

    `rank` and `world_size` are those of the cluster; a `group` counts its own places from 0, and
    has fewer of them after a death. `device` is where tensors belong, as torch names it.
    """

    def __init__(self, host: Host, welcome: Welcome, start: Start) -> None:
        self.rank = host.me.rank
        self.world_size = welcome.world_size
        self.backend, self.device = welcome.backend, welcome.device
        self.seed = start.seed
        self.elastic = start.elastic
        self._following = Following(host, start)
        self.deadline = start.deadline
        self.last_step: int | None = None
        self._host, self._run = host, start.run
        self._group: Group | None = None
        self._default_group = False
        self._notice: OnSignal | None = None
        self._resigned = ""
        self._ids = itertools.count()

    # -- the group

    @property
    def view(self) -> View:
        """That of the group; empty for a rank that joins a run under way."""
        return self._following.view

    @property
    def group(self) -> Group:
        """The process group of the view, formed at first use: all members must use it.

        A rank that joins a run under way comes into the view now: it should have made ready what
        takes time. It raises RunOver when all others have ended the run.
        """
        if self._group is not None:
            return self._group
        if not self.view.members:
            self._host.get_ready()
            return self.regroup()
        try:
            self._group = self._form(self.view)
        except Superseded:
            return self.regroup()
        return self._group

    @property
    def must_regroup(self) -> bool:
        """Whether there is a newer view than that of the group of this elastic run. All members
        have to `regroup` at the same place, so they agree on it, in the next all-reduce, say."""
        return self.elastic and self._group is not None and self._group.superseded

    def heed_notice(self) -> None:
        """From now on SIGTERM, a preemption notice, does not end this process at once: `preempted`
        becomes true, and the function is expected to return within the grace period. The process
        then ends with exit code 0. The main thread only."""
        from labkit.checkpoint.policy import OnSignal

        self._notice = OnSignal()

    @property
    def preempted(self) -> bool:
        return bool(self.why_it_leaves)

    @property
    def why_it_leaves(self) -> str:
        """This rank, for good, when its function returns; "" when it stays."""
        noticed = self._notice is not None and self._notice.received
        return self._resigned or ("its machine is taken back" if noticed else "")

    def resign(self, why: str) -> None:
        """This rank leaves of its own accord, as if it had been preempted."""
        self._resigned = why

    def regroup(self, timeout: float = 30.0, minimum: int = 1) -> Group:
        """After PeerLost, or to let others in: waits until the members agree on the next view, and
        forms its group, without those whose function is over already.

        Forms again by itself when the view changes meanwhile. Raises TimeoutError when no new view
        is agreed on within `timeout` seconds; but an elastic run whose members are too few to
        agree, or fewer than `minimum`, pauses until others return.
        """
        self._leave_group()
        while True:
            with events.span("agreeing"):
                self._following.next(timeout, minimum, self.last_step)
            try:
                self._group = self._form(self.view)
                self._following.joins = False
                return self._group
            except (PeerLost, Superseded):
                continue

    def _leave_group(self) -> None:
        group, self._group = self._group, None
        if group is None:
            return
        if group.lost is None and not group.abandoned:
            group.close()  # all leave it here: nothing is stuck
        else:
            group.abandon()
        self._host.regroup(self._run, Farewell(group.view, group.completed, group.lost))

    def _form(self, view: View) -> Group:
        from labkit.collectives.links.shared_memory import SharedMemoryLink
        from labkit.collectives.process_group import form

        place, size = view.members.index(self.rank), len(view.members)
        store = self._store(f"run {self._run}, {view}", view)

        def share() -> SharedMemoryLink:
            return SharedMemoryLink(place, size, store, "shared", view.members, self.deadline)

        try:
            return Group(
                view,
                self.rank,
                lambda: form(self.backend, self.device, store, place, size, view.members),
                _Detector(self._host, self._run),
                self.deadline,
                None if self._host.apart else share,
                self._host.inspector,
            )
        except (PeerLost, Superseded) as error:
            lost = error.rank if isinstance(error, PeerLost) else None
            self._host.regroup(self._run, Farewell(view, 0, lost))
            raise

    def _store(self, epoch: str, view: View) -> Any:
        from labkit.runtime.store import WireStore

        owner = min(view.members)
        return WireStore(lambda request: self._host.ask(owner, request), epoch, FORMING_SECONDS)

    def init_process_group(self, seconds: float = 60.0) -> None:
        """Makes torch.distributed's own default group of this view, on the lab's store, so that
        `torch.distributed` and `DistributedDataParallel` can be used beside the lab's own."""
        import torch.distributed as dist

        dist.init_process_group(
            self.backend,
            store=self._store(f"default group of run {self._run}, {self.view}", self.view),
            rank=self.view.members.index(self.rank),
            world_size=len(self.view.members),
            timeout=timedelta(seconds=seconds),
        )
        self._default_group = True

    def committer(self, store: Store) -> ViewCommitter:
        """Who commits what the ranks of this view write into `store`, all of it or nothing: for a
        `Checkpointer`, whose rank and size are its `place`. In another view ask for another."""
        members = tuple(Member(rank, self._host.lives[rank]) for rank in self.view.members)
        return ViewCommitter(self._host.desk, self._run, self.rank, members, store)

    # -- messages between functions

    def send(self, to: int, value: Any) -> None:
        """Sends any value to the function on rank `to`. It may be lost when the link is faulty."""
        id = f"{self.rank}.{self._host.me.life}.{next(self._ids)}"
        body = cloudpickle.dumps(value)
        if len(body) > MAX_FRAME - 4096:
            raise ValueError(
                f"rank {self.rank}: a message of {len(body) >> 20} MB is too large for the wire "
                f"({MAX_FRAME >> 20} MB): large tensors travel by worker.group.broadcast"
            )
        event = events.record("send", id=id, peer=to, bytes=len(body))
        self._host.send_parcel(to, Parcel(self._run, event.clock, id, body))

    def receive(self, source: int, timeout: float = 10.0) -> Any:
        """The next value that rank `source` sent in this run. Raises TimeoutError."""
        queue, end = self._host.parcels_from(source), time.monotonic() + timeout
        while True:
            try:
                parcel = queue.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                raise TimeoutError(
                    f"rank {self.rank}, step {self.last_step}, had no message from rank {source} "
                    f"within {timeout:g} s: it sent none, or the link lost it"
                ) from None
            if parcel.run == self._run:
                events.record("receive", id=parcel.id, peer=source, bytes=len(parcel.body))
                return cloudpickle.loads(parcel.body)

    # -- progress

    def step(self, step: int) -> None:
        """This rank has completed training step `step`; a fault planned for it strikes here."""
        self.last_step = step = operator.index(step)
        events.record("step", step=step)
        self._host.inspector.stepped(step)
        faults.step(step)

    def progress(self, count: int) -> None:
        """How far the work of this rank has come, for its heartbeats to tell; counted from 1, as
        finely as blame shall fall. Who beats and stays behind is suspected to hang."""
        self._host.worked(operator.index(count))

    def report(self, step: int | None = None, **values: float) -> None:
        """Numbers worth a curve, such as `loss=…`; with the last step unless another is given."""
        at = self.last_step if step is None else step
        for name, value in values.items():
            number = float(value)
            plain = number if math.isfinite(number) else str(number)  # JSON has no NaN
            events.record("metric", name, value=plain, step=at)

    def expect(self, steps: int) -> None:
        """How many steps this run has, for the progress bar."""
        events.record("total", steps=operator.index(steps))

    def tensor(self, *shape: int, fill: float = 0.0) -> torch.Tensor:
        """A float32 tensor of this shape on the rank's device."""
        import torch

        return torch.full(shape, fill, dtype=torch.float32, device=self.device)

    def leave(self) -> Farewell:
        """Ends the group, and the work that heartbeats tell of. What is stuck stays behind."""
        self._host.worked(0)
        if self._notice is not None:
            self._notice.close()
        self._host.get_ready()
        self._host.desk.over(self._run)
        if self._group is None:
            return Farewell(View(0, ()), 0)
        self._group.close()
        return Farewell(self._group.view, self._group.completed, self._group.lost)

    def close(self) -> None:
        """Ends torch's default group, which may block when a member is dead."""
        if self._default_group:
            import torch.distributed as dist

            dist.destroy_process_group()


class _Detector:
    """The host's word on who is gone, for the groups of one run."""

    def __init__(self, host: Host, run: int) -> None:
        self.host, self.run = host, run

    def subscribe(self, view: View, listener: Listener) -> Callable[[], None]:
        return self.host.departures.subscribe(self.run, view, listener)
