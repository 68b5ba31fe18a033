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
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from labkit.training.data import Dataset
    from labkit.training.state import State

LAST = 2
"""Checkpoints that are kept: the second takes over where the disk has spoilt the first."""


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
    """Checkpoints of `state` in `folder` after so many steps, or whenever a rank's rule wants one.
    Belongs to the training thread."""

    def __init__(
        self,
        worker: Any,
        state: State,
        data: Dataset,
        folder: str | os.PathLike[str],
        every: int | Policy,
    ) -> None:
        self.worker, self.state = worker, state
        self.policy = Agreed(policy_of(every))
        # The seed too: in another order of the samples the sampler's place means nothing.
        samples = fingerprint(data.inputs, data.targets, state.sampler.seed)
        made = Made(code=fingerprint(type(state.model)), data=samples)
        self.store = Store(Path(folder), keep=Keep(last=LAST), made=made)
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
            self.checkpointer = Checkpointer(self.store, self.pieces, self.policy)
        try:
            self.checkpointer.move(committer, *committer.place)
        except CheckpointFailed as error:
            self._say(error)

    def wants(self) -> bool:
        """Whether this rank wants a checkpoint behind the step that begins."""
        metrics = {"loss": self.state.loss}  # of the step before it
        moment = Moment(self.state.step + 1, time.monotonic(), metrics)
        return self.policy.rule.wants(moment) or self.suspect

    def step(self, due: bool) -> None:
        """A step is complete, and a checkpoint of it is `due` or not: the same on all ranks. One
        that fails is no reason to stop: the last one holds."""
        assert self.checkpointer is not None, "enter() comes first"
        self.policy.due, self.owed = due, due
        try:
            began = self.checkpointer.step(self.state.step, {"loss": self.state.loss})
            self.owed = due and not began
            self.suspect = self.suspect and not began
        except CheckpointFailed as error:
            self._say(error)

    def save(self) -> None:
        """Of this step, by all ranks together; returns when it is durable."""
        assert self.checkpointer is not None, "enter() comes first"
        try:
            self.checkpointer.wait()
            newest = self.checkpointer.newest
            if newest is None or newest.step != self.state.step:
                self.checkpointer.save(self.state.step, {"loss": self.state.loss})
                self.checkpointer.wait()
        except CheckpointFailed as error:
            self._say(error)

    def settle(self) -> None:
        """What is being written comes to its end: it may still be copying the weights."""
        try:
            if self.checkpointer is not None:
                self.checkpointer.wait()
        except CheckpointFailed as error:
            self._say(error)

    def failed(self, suspect: bool = False) -> None:
        """A member has been lost: who reckons with failures has seen one more. Where it had wrong
        weights the newest checkpoint is `suspect`, and another is to take its place soon."""
        self.suspect = self.suspect or suspect
        report_failure(self.policy.rule, time.monotonic())

    def close(self) -> None:
        """Waits for the last one. A rank that is alone may have been at the one before when it was
        due, and no step comes after it; among many, all have waited."""
        try:
            if self.owed and self.checkpointer is not None and self.checkpointer.size == 1:
                self.save()
            if self.checkpointer is not None:
                self.checkpointer.close()
        except CheckpointFailed as error:
            self._say(error)

    def leave(self) -> None:
        """The training has ended by an error: the folder is free for another run."""
        if self.checkpointer is not None:
            self.checkpointer.leave()
        else:
            self.store.close()

    def _say(self, error: CheckpointFailed) -> None:
        events.record("note", f"no checkpoint: {error}")
        print(f"no checkpoint, training goes on: {error}", file=sys.stderr, flush=True)


class _Place:
    """How far the training is, as a piece of its state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def state_dict(self) -> dict[str, Any]:
        return {"step": self._state.step, "loss": self._state.loss}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self._state.step, self._state.loss = saved["step"], saved["loss"]
