"""Checkpoints that training hardly notices: a snapshot in its shade, a thread that writes it.

    checkpointer = Checkpointer(store, pieces, EverySteps(100))
    for step in …:
        loss.backward()
        optimizer.step()              # waits, through a hook, until the snapshot is complete
        checkpointer.step(step)       # raises what the writer met; starts the next checkpoint
    checkpointer.close()              # the last one is durable

One checkpoint is under way at a time: who wants the next one meanwhile is told no, and asks again
after the next step. Only a preemption notice does not wait: there the training does.

    notice = OnSignal()               # SIGTERM
    checkpointer = Checkpointer(store, pieces, AnyOf(EverySteps(100), notice))
    …
    if notice.received:               # after checkpointer.step: this step is on its way to disk
        break
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from torch.optim import Optimizer

from labkit import events, faults
from labkit.checkpoint.manifest import Manifest, Shard
from labkit.checkpoint.policy import Moment, Policy, remind
from labkit.checkpoint.snapshot import SafePoint, Snapshot
from labkit.checkpoint.state import Pieces, capture
from labkit.checkpoint.store import Store
from labkit.checkpoint.tiers import Uploader, UploadFailed


class Committer(Protocol):
    """Who decides that a checkpoint is one. Called on the writer's thread, where it may wait.

    Between many ranks this is a participant of two-phase commit: `begin` agrees on the attempt's
    number; `vote` says yes with a shard that is durable, or no, waits for the decision, and then
    calls `Store.commit_prepared` or `Store.abandon`.
    """

    def recover(self) -> None:
        """Finishes what an earlier life, or the view before, has left in the folder; called before
        the first `begin`, when no writer of this rank is at work."""

    def begin(self, step: int) -> int | None:
        """The number of a new attempt, the same on all ranks (`Store.next_number` on one); None
        when there can be none any more, since a rank is gone."""

    def vote(
        self, number: int, step: int, shard: Shard | None, metrics: Mapping[str, float]
    ) -> Manifest | None:
        """`shard` is None for no. Returns the committed checkpoint, or None when it is aborted;
        what it raises is raised at the next step."""


class Alone:
    """One rank: it commits as soon as it can."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def recover(self) -> None:
        pass  # what is left over is collected behind the next commit

    def begin(self, step: int) -> int:
        return self.store.next_number()

    def vote(
        self, number: int, step: int, shard: Shard | None, metrics: Mapping[str, float]
    ) -> Manifest | None:
        return self.store.commit([shard], number, step, metrics) if shard else None


class Checkpointer:
    """Writes checkpoints of `pieces` into `store` when `policy` wants one, or `save` is called.

    Of `size` ranks each writes its cut of what they have alike, or rank 0 all of it where `sharded`
    is False. `newest` is the newest that this object has committed; `stall` and `duration` say for
    how many seconds the last one held up training, and how long it took to be durable. Its methods
    belong to the training thread.
    """

    def __init__(
        self,
        store: Store,
        pieces: Pieces,
        policy: Policy | None = None,
        committer: Committer | None = None,
        rank: int = 0,
        size: int = 1,
        sharded: bool = True,
        uploader: Uploader | None = None,
    ) -> None:
        self.store, self.pieces, self.policy, self.uploader = store, pieces, policy, uploader
        self.committer = committer or Alone(store)
        self.rank, self.size, self.sharded = rank, size, sharded
        self.newest: Manifest | None = None
        self.stall = self.duration = 0.0
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._copied = threading.Event()
        self._warm = False
        optimizers = [piece for piece in pieces.values() if isinstance(piece, Optimizer)]
        wait = self._before_optimizer_step
        self._hooks = [optimizer.register_step_pre_hook(wait) for optimizer in optimizers]
        self.committer.recover()
        if policy is not None:
            remind(policy, store)

    def step(self, step: int, metrics: Mapping[str, float] | None = None) -> bool:
        """After every step of the training; whether a checkpoint was begun.

        Raises what the last checkpoint's writer met (CheckpointFailed, say). After that the next
        one is tried as if nothing had been: training may go on, with the older ones.
        """
        self.check()
        if not self._warm:
            self._copy(None)  # makes the room for it, once, where all is slow anyway
            self._warm = True
        moment = Moment(step, time.monotonic(), metrics or {})
        if self.policy is None or not self.policy.wants(moment):
            return False
        if self.policy.urgent or self.size > 1:
            self.wait()  # among many, some would find the last one written and others not
        return self.save(step, metrics)

    def save(
        self, step: int, metrics: Mapping[str, float] | None = None, at_once: bool = False
    ) -> bool:
        """Begins a checkpoint at this safe point; False when one is still being written.

        With `at_once` the whole copy is made before it returns: for a training that changes its
        weights elsewhere than in `optimizer.step`.
        """
        self.check()
        if self._thread is not None and self._thread.is_alive():
            return False
        begin = time.monotonic()
        moment = Moment(step, begin, dict(metrics or {}))
        with events.span("snapshot", step=step):
            faults.point("checkpoint.snapshot")
            self._copied.clear()
            job = self._copy(None) if at_once or not self._hooks else SafePoint(self.pieces)
            self._thread = threading.Thread(target=self._write, args=(job, moment), name="writer")
            if self.policy is not None and self.size > 1:
                # Now, and not when it is written: all ranks must come to want the same next step.
                self.policy.saved(moment, self.stall, self.duration)
            self._thread.start()
        self.stall = time.monotonic() - begin
        return True

    def move(self, committer: Committer, rank: int, size: int) -> None:
        """Into another view, with another place among other ranks. What is under way is first
        brought to its end: those who left may have spoilt it. The next one is full: others may have
        written some without this rank meanwhile, and collected what it would refer to. Raises the
        writer's error, and has moved all the same."""
        try:
            self.wait()
        finally:
            self.store.increments.forget()
            self.committer, self.rank, self.size = committer, rank, size
            committer.recover()

    def check(self) -> None:
        """Raises the writer's error, or the uploader's, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error
        if self.uploader is not None:
            self.uploader.check()

    def wait(self) -> None:
        """Until what was begun is durable. Raises the writer's error."""
        if self._thread is not None:
            self._thread.join()
        self.check()

    def close(self) -> None:
        """Waits until all is durable, and uploaded; the optimizer is as it was before. Raises the
        writer's error, or the uploader's."""
        for hook in self._hooks:
            hook.remove()
        with contextlib.ExitStack() as last:
            last.callback(self.store.close)
            if self.uploader is not None:
                last.callback(self.uploader.close)
            self.wait()

    def leave(self) -> None:
        """The training has ended by an error. Waits for nothing, since the other ranks may not come
        to the end of what is being written; it ends by itself, and then the next run may write."""
        for hook in self._hooks:
            hook.remove()
        threading.Thread(target=self._end, name="last writer", daemon=True).start()

    def _end(self) -> None:
        if self._thread is not None:
            self._thread.join()
        self.store.close()
        if self.uploader is not None:
            with contextlib.suppress(UploadFailed):
                self.uploader.close()

    def _before_optimizer_step(self, *_: Any) -> None:
        """On the training thread: what is being copied must not change yet."""
        if self._thread is not None and not self._copied.is_set():
            begin = time.monotonic()
            self._copied.wait()
            self.stall += time.monotonic() - begin

    def _copy(self, point: SafePoint | None) -> Snapshot:
        """Of a safe point, or of how things are now."""
        state = capture(self.pieces) if point is None else point.state
        snapshot = self.store.snapshot(state, self.rank, self.size, self.sharded)
        snapshot.copy()
        if point is not None:
            point.check()
        return snapshot

    # -- on the writer's thread

    def _write(self, job: SafePoint | Snapshot, moment: Moment) -> None:
        try:
            made = self._agree(job, moment)
            self.duration = time.monotonic() - moment.time
            self.newest = made or self.newest
            if made:
                self.store.increments.remember(made)
            if made and self.rank == 0:
                self.store.tidy(made)
            if made and self.rank == 0 and self.uploader is not None:  # one sends the shards of all
                self.uploader.offer(made)
            if self.policy is not None:
                self.policy.saved(moment, self.stall, self.duration)
        except BaseException as error:
            self._error = error

    def _agree(self, job: SafePoint | Snapshot, moment: Moment) -> Manifest | None:
        """A rank that fails at anything says no, so that the others need not wait for it."""
        shard, failure = None, None
        try:
            snapshot = self._copy(job) if isinstance(job, SafePoint) else job
        except Exception as error:
            failure = error
        finally:
            self._copied.set()
        number = self.committer.begin(moment.step)
        if number is None:
            return None
        try:
            if failure is not None:
                raise failure
            place = self.rank, self.size
            shard = self.store.prepare(snapshot, number, moment.step, *place, moment.metrics)
        finally:
            made = self.committer.vote(number, moment.step, shard, moment.metrics)
        return made
