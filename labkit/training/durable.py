"""The checkpoints of an elastic training: what is left when no rank is.

A death of a few costs nothing but time, since the state of those that are left goes to those that
come. When all die, or the job is stopped, the newest checkpoint is what there is. All ranks write
it together, each its cut, and it is one only if all have (`labkit.runtime.committer`). In every new
view the ranks share out the cuts anew; any number of ranks can read it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from labkit import events
from labkit.checkpoint import (
    CheckpointFailed,
    Keep,
    Loaded,
    Made,
    Store,
    capture,
    fingerprint,
    restore,
)
from labkit.checkpoint.background import Checkpointer
from labkit.checkpoint.policy import Moment, Policy, policy_of, remind, report_failure
from labkit.checkpoint.tiers import Bucket, Uploader, UploadFailed

if TYPE_CHECKING:
    from labkit.training.data import Dataset
    from labkit.training.state import State

T = TypeVar("T")

FAILURES = CheckpointFailed, UploadFailed

LAST = 2
"""Checkpoints that are kept in a folder of which nothing else is said: the second takes over where
the disk has spoilt the first."""


class Agreed:
    """What becomes of each rank's own rule among many ranks, whose clocks differ: before a step it
    is asked whether this rank votes for a checkpoint behind it, and it is `due` for all of them
    when any has. The votes ride along with the step's gradients (`buckets.py`)."""

    def __init__(self, rule: Policy) -> None:
        self.rule, self.due = rule, False

    @property
    def urgent(self) -> bool:
        return self.rule.urgent

    def wants(self, now: Moment) -> bool:
        return self.due

    def saved(self, when: Moment, stall: float, duration: float) -> None:
        self.rule.saved(when, stall, duration)


class Durable:
    """Checkpoints of `state` in `where`, a folder or a store, after so many steps, or whenever a
    rank's rule wants one; the first rank of the view sends each on to `upload`, a bucket's URL or a
    store in one. Belongs to the training thread."""

    def __init__(
        self,
        worker: Any,
        state: State,
        data: Dataset,
        where: str | os.PathLike[str] | Store,
        every: int | Policy,
        upload: str | Store | None = None,
    ) -> None:
        self.worker, self.state = worker, state
        self.policy = Agreed(policy_of(every))
        # The seed too: in another order of the samples the sampler's place means nothing.
        samples = fingerprint(data.inputs, data.targets, state.sampler.seed)
        made = Made(code=fingerprint(type(state.model)), data=samples)
        self.store = where if isinstance(where, Store) else Store(where, keep=Keep(last=LAST))
        self.store.describe(made)
        self.second = Store(Bucket(upload)) if isinstance(upload, str) else upload
        if self.second is not None and not isinstance(self.second.folder.disk, Bucket):
            raise ValueError(
                "upload= takes a URL, or a store in a bucket: Store(Bucket(url), keep)"
            )
        self.pieces = {
            "model": state.model,
            "optimizer": state.optimizer,
            "sampler": state.sampler,
            "guard": state.guard,
            "progress": _Place(state),
        }
        self.checkpointer: Checkpointer | None = None
        self.owed = False  # the last one that was due has not been begun
        self.suspect = False  # the newest one may have been written by a rank with wrong weights

    def restore(self) -> bool:
        """The newest good checkpoint, if there is any; what is newer and not good is said.

        Raises NoGoodCheckpoint when none of those that are there is.
        """
        with events.span("loading a checkpoint"):
            loaded = self.store.load(like=capture(self.pieces), reshard=True)
            if loaded is not None:
                restore(self.pieces, loaded.state)
                self._tell(loaded)
                remind(self.policy.rule, self.store)
        return loaded is not None

    def _tell(self, loaded: Loaded) -> None:
        """The record has it from every rank, and who reads the output from one."""
        where = f"goes on from {loaded.manifest.name}, step {self.state.step}"
        events.record("note", where)
        if self.worker.rank == 0:
            print(*loaded.remarks, where, sep="\n", file=sys.stderr, flush=True)

    def enter(self) -> None:
        """The group of a new view has been formed, and all of it is at the same step."""
        committer = self.worker.committer(self.store)
        if self.checkpointer is None:
            how = self.pieces, self.policy
            self.checkpointer = Checkpointer(self.store, *how, uploader=self._uploader())
        try:
            self.checkpointer.move(committer, *committer.place)
        except FAILURES as error:
            self._say(error)

    def _uploader(self) -> Uploader | None:
        if self.second is None:
            return None
        bucket = self.second.folder.disk
        assert isinstance(bucket, Bucket)
        return Uploader(self.store, bucket, self.second.keep)

    def wants(self) -> bool:
        """Whether this rank wants a checkpoint behind the step that begins."""
        metrics = {"loss": self.state.loss}  # of the step before it
        moment = Moment(self.state.step + 1, time.monotonic(), metrics)
        return self.policy.rule.wants(moment) or self.suspect

    def step(self, due: bool) -> None:
        """A step is complete, and a checkpoint of it is `due` or not: the same on all ranks."""
        assert self.checkpointer is not None, "enter() comes first"
        self.policy.due = due
        now = self.state.step, {"loss": self.state.loss}
        began = self._insist(partial(self.checkpointer.step, *now))
        self.owed = due and not began
        self.suspect = self.suspect and not began

    def save(self) -> None:
        """Of this step, by all ranks together; returns when it is durable."""
        assert self.checkpointer is not None, "enter() comes first"
        self.settle()
        newest = self.checkpointer.newest
        if newest is None or newest.step != self.state.step:
            now = self.state.step, {"loss": self.state.loss}
            self._insist(partial(self.checkpointer.save, *now))
            self.settle()

    def settle(self) -> None:
        """What is being written comes to its end: it may still be copying the weights."""
        if self.checkpointer is not None:
            self._insist(self.checkpointer.wait)

    def failed(self, suspect: bool = False) -> None:
        """A member has been lost: who reckons with failures has seen one more. Where it had wrong
        weights the newest checkpoint is `suspect`, and another is to take its place soon."""
        self.suspect = self.suspect or suspect
        report_failure(self.policy.rule, time.monotonic())

    def close(self) -> None:
        """Waits for the last one, and its upload. A rank that is alone may have been at the one
        before when it was due, and no step comes after it; among many, all have waited."""
        try:
            if self.owed and self.checkpointer is not None and self.checkpointer.size == 1:
                self.save()
            if self.checkpointer is not None:
                self.checkpointer.close()
        except FAILURES as error:
            self._say(error)

    def leave(self) -> None:
        """The training has ended by an error: the folder is free for another run."""
        if self.checkpointer is not None:
            self.checkpointer.leave()
        else:
            self.store.close()

    def _insist(self, act: Callable[[], T]) -> T:
        """A failure is no reason to stop: the last checkpoint holds. Nor is it one to leave out the
        next, at this rank alone: of one before it is told, once, and what is to be done is done."""
        while True:
            try:
                return act()
            except FAILURES as error:
                self._say(error)

    def _say(self, error: Exception) -> None:
        what = "no upload" if isinstance(error, UploadFailed) else "no checkpoint"
        events.record("note", f"{what}: {error}")
        print(f"{what}, training goes on: {error}", file=sys.stderr, flush=True)


class _Place:
    """How far the training is, as a piece of its state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def state_dict(self) -> dict[str, Any]:
        return {"step": self._state.step, "loss": self._state.loss}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self._state.step, self._state.loss = saved["step"], saved["loss"]
