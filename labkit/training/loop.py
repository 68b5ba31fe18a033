"""Data-parallel training: equal weights on all ranks, a share of each batch, one summed gradient.

`train_step` is what a training script does, with a name at every place where a fault may strike
(`faults.point`) and a span around everything that takes time. `train` is the loop around it, which
goes on with the ranks that are left, and in an elastic run lets those in that come back.

What is promised of the result: the gradient of a logical shard does not depend on who computes it
(`sampler.py`) and every rank applies the same sum, so all ranks hold the same bits. Between world
sizes the *order* of the sum differs. With "ring" (and every algorithm but one) the losses agree up
to rounding, and drift apart as rounding does; with "in_order" the bits are the same for every
number of ranks, also when it changes on the way (`in_order.py` says what that costs), and so they
are with exact=True, by any algorithm (`exact.py`).
"""

from __future__ import annotations

import copy
import os
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import events, faults
from labkit.checkpoint import Store
from labkit.checkpoint.policy import Policy
from labkit.training import corruption, models
from labkit.training.buckets import PREEMPTED, Buckets
from labkit.training.data import Data, Dataset
from labkit.training.durable import Durable
from labkit.training.exact import Exact, ExactBuckets
from labkit.training.numerics import Guard, Snapshot, good
from labkit.training.pieces import Answers, Pieces, pieces
from labkit.training.recipes import RECIPES
from labkit.training.redundant import RedundantBuckets, SilentCorruption
from labkit.training.sampler import SHARDS, Sampler, cut, randomness
from labkit.training.scaling import Schedule, constant
from labkit.training.state import State, catch_up, fingerprint, mend
from labkit.training.stragglers import Stragglers
from labkit.training.zero import Parts, Zero, ZeroOptimizer
from labkit.view import PeerLost

if TYPE_CHECKING:
    from labkit.collectives.group import Group


@dataclass(frozen=True)
class Job:
    """What stays the same from the first step to the last."""

    worker: Any
    learn: Dataset
    examine: Dataset
    steps: int
    lr: float
    schedule: Schedule
    shards: int
    algorithm: str
    bucket_bytes: int
    exact: Exact | None
    redundancy: int
    parts: Parts | None
    durable: Durable | None
    compare_every: int
    drop_stragglers: bool
    minimum: int
    pieces: Pieces


def train(
    worker: Any,
    model: str = "cnn",  # or "gpt"
    data: Data | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,  # samples in a global batch, of all ranks together
    lr: float | None = None,
    schedule: Schedule = constant,  # from the step to a factor for lr
    shards: int = SHARDS,  # logical shards in a global batch
    algorithm: str = "ring",  # the quickest are "shared_memory" on one machine, else "builtin"
    bucket_bytes: int = 1 << 20,
    on_loss: str = "stop",  # or "continue" with the ranks left, as an elastic run always does
    minimum: int = 1,  # ranks; with fewer it waits. The most are the cluster's
    exact: bool | Exact = False,  # sums in fixed point: the same bits for any number of ranks
    redundancy: int = 1,  # 2: every shard by two ranks, in exact sums (`redundant.py`)
    zero: bool | Zero = False,  # each rank keeps its part of the optimizer's state (`zero.py`)
    checkpoints: str | os.PathLike[str] | Store | None = None,  # a folder that all ranks see
    every: int | Policy = 50,  # steps, a checkpoint; or a rule of `labkit.checkpoint.policy`
    upload: str | Store | None = None,  # a second home for them, as fsspec names it: "s3://…"
    guard: Guard | None = None,  # what becomes of bad steps; by default they are left out
    compare_every: int = 0,  # steps after which the replicas compare their weights; 0: never
    drop_stragglers: bool = False,  # who stays slow leaves, as long as `minimum` are left
    mine: Answers | None = None,  # a learner's, by exercise, in place of the lab's (`pieces.py`)
) -> dict[str, Any]:
    """Trains on all ranks of the worker's group, and returns the same on each but for the speed.

    With `checkpoints` it goes on from the newest in that folder. A rank that is preempted (SIGTERM)
    or dropped completes its step, after which all write a checkpoint, and returns without a score.
    In a folder the last two stay, at the `upload` all that came there: in the background, sent by
    the first rank of the view. A `Store` (`labkit.checkpoint`) in place of a name says more:

        checkpoints=Store("kept", keep=Keep(last=3, best=1), full_every=5, pack=True)
        upload=Store(Bucket("s3://lab/run", **options), keep=Keep(last=5))

    On a machine that has lost its disk `tiers.fetch(bucket, store, reshard=True)` brings the newest
    back, before this is called.

    Keys: loss (of the last global batch), test_loss, accuracy, steps, hash (of the weights) and
    samples_per_second (of all ranks together). What is not given comes from the model's recipe;
    `steps` wins over `epochs`. Raises PeerLost when a rank dies and on_loss is "stop".
    """
    check(model, batch, shards, on_loss, redundancy, bool(zero and compare_every))
    if upload and not checkpoints:
        raise ValueError(f"upload={upload!r} of what? Say checkpoints=, the folder before it")
    if not 1 <= minimum <= worker.world_size:
        raise ValueError(f"minimum={minimum}: use 1 to {worker.world_size}, this cluster's ranks")
    recipe = RECIPES[model]
    lr = recipe.lr if lr is None else lr
    learn, examine = (part.to(worker.device) for part in data or recipe.data())
    fresh = partial(begin, worker, model, learn, batch or recipe.batch, lr, guard, bool(zero))
    state = fresh()
    steps = (epochs or recipe.epochs) * state.sampler.steps_per_epoch if steps is None else steps
    fixed = exact if isinstance(exact, Exact) else Exact() if exact or redundancy > 1 else None
    durable = None
    if checkpoints:
        durable = Durable(worker, state, learn, checkpoints, every, upload)
        durable.restore()
    zero = Zero() if zero is True else zero
    parts = Parts(zero, state, durable, fresh) if zero else None
    how = schedule, shards, algorithm, bucket_bytes, fixed, redundancy, parts, durable
    also = compare_every, drop_stragglers, minimum, pieces(mine or {})
    job = Job(worker, learn, examine, steps, lr, *how, *also)

    worker.expect(steps)
    worker.heed_notice()
    began = time.monotonic()
    try:
        score = train_in_views(worker, job, state, on_loss)
        if durable is not None:
            durable.close()
    except BaseException:
        if durable is not None:
            durable.leave()
        raise
    speed = state.step * state.sampler.batch / (time.monotonic() - began)
    result = {"loss": state.loss, **score, "steps": state.step, "hash": fingerprint(state.model)}
    return result | {"samples_per_second": speed}


def train_in_views(worker: Any, job: Job, state: State, on_loss: str) -> dict[str, float]:
    """Trains on one group after the other; returns the score, none where this rank has left."""
    score, stops = None, on_loss == "stop" and not worker.elastic
    while score is None:
        try:
            if worker.group.size >= job.minimum:
                score = train_on(worker.group, job, state)
        except PeerLost as lost:
            if stops and not lost.goes_on:
                raise
            if job.durable is not None and not lost.goes_on:
                job.durable.failed()
        except SilentCorruption as found:
            if stops or not found.sure or worker.rank in found.ranks:
                raise
            if job.durable is not None:  # for the others it is as if those named had died
                job.durable.failed(suspect=True)
        if score is None and worker.preempted:
            score = {}  # the others go on
        elif score is None:
            worker.regroup(minimum=job.minimum)
    return score


def begin(
    worker: Any,
    model: str,
    learn: Dataset,
    batch: int,
    lr: float,
    guard: Guard | None,
    zero: bool,
) -> State:
    """The state at step 0: the same weights on all ranks, from the seed."""
    network = models.build(model, worker.seed).to(worker.device)
    make = RECIPES[model].optimizer
    parameters = network.parameters()
    optimizer = ZeroOptimizer(make, parameters, lr) if zero else make(parameters, lr)
    sampler = Sampler(learn.samples, batch, worker.seed)
    return State(network, optimizer, sampler, copy.deepcopy(guard or Guard()))


def train_on(group: Group, job: Job, state: State) -> dict[str, float] | None:
    """Trains on one group, from wherever its most advanced member is, to the end, and evaluates; or
    until a member wants to let others in: then returns None, at the same step on all."""
    if job.parts is None:
        catch_up(group, state, job.pieces.roll_forward, wary=job.redundancy > 1)
    else:
        job.parts.catch_up(group, state, job.steps)
    if job.durable is not None:
        job.durable.enter()
    buckets = hang(group, job, state)
    snapshot, stragglers = Snapshot(state), Stragglers()
    try:
        while state.step < job.steps:
            seconds = train_step(job, state, buckets, snapshot, stragglers.tells)
            if job.parts is not None:
                job.parts.step(state, buckets.votes, leaves=job.worker.preempted)
            job.worker.report(state.step, loss=state.loss)
            if job.durable is not None:
                job.durable.step(due=buckets.saves > 0)
            job.worker.step(state.step)
            stragglers.watch(group.rank, state.step, seconds, buckets.told)
            if job.drop_stragglers and stragglers.left_behind(group, job.minimum):
                job.worker.resign("it is slower than the others")
            if job.compare_every and state.step % job.compare_every == 0:
                mend(group, state)
            if buckets.votes >= PREEMPTED and job.durable is not None:
                job.durable.save()  # while all that have a part of it are there
            if buckets.votes and state.step < job.steps:
                return None
    finally:
        buckets.close()
    return evaluate(group, state.model, job.examine)


def hang(group: Group, job: Job, state: State) -> Buckets:
    """The buckets that this job wants, hung on the model."""
    shares = [job.pieces.share(place, group.size, job.shards) for place in range(group.size)]
    algorithm = job.pieces.all_reduce or job.algorithm
    common = state.model, group, shares, algorithm, job.bucket_bytes
    if job.redundancy > 1 and job.exact:
        return RedundantBuckets(*common, job.exact, state.kept, state.step)
    return ExactBuckets(*common, job.exact) if job.exact else Buckets(*common)


def train_step(
    job: Job, state: State, buckets: Buckets, snapshot: Snapshot, tells: int = 0
) -> float:
    """One step on the next global batch, in which this rank `tells` the others a number; returns
    how many seconds it computed. Raises PeerLost, and has then changed nothing."""
    faults.point("batch")
    rows = state.sampler.rows()
    shards = cut(rows, job.shards)
    targets = job.learn.targets[rows].numel()
    snapshot.keep(state)
    with faults.work("computing", step=state.step) as computing:
        leave = PREEMPTED if job.worker.preempted else job.worker.must_regroup
        buckets.begin(leave, job.durable is not None and job.durable.wants(), tells)
        buckets.scale = None if state.guard.scale is None else state.guard.scale.scale
        corruption.inject(state.model, buckets)
        for shard in buckets.shards():
            randomness(job.worker.seed, state.step, shard)
            faults.point("forward")
            loss = summed_loss(state.model, job.learn.rows(shards[shard])) / targets
            faults.point("backward")
            buckets.backward(loss)  # full buckets set off from in here
    with events.span("all-reduce", step=state.step, bytes=buckets.nbytes):
        faults.point("all_reduce")
        mean_loss = wait(buckets)
    with faults.work("computing", step=state.step):
        faults.point("optimizer.step")
        if good(state, buckets, mean_loss, snapshot):
            for parameters in state.optimizer.param_groups:
                parameters["lr"] = job.lr * job.schedule(state.step) * state.guard.factor
            state.optimizer.step()
        state.step, state.loss = state.step + 1, mean_loss
        advance(job, state)
    return computing.seconds


def advance(job: Job, state: State) -> None:
    """The place in the data moves on to the next global batch."""
    sampler = state.sampler
    sampler.advance()
    if job.pieces.place is not None:
        sampler.epoch, sampler.position = job.pieces.place(
            state.step, sampler.samples, sampler.batch
        )


def wait(buckets: Buckets) -> float:
    """The loss of the global batch; NaN where exact sums find, at all ranks, what is no number."""
    try:
        return buckets.wait()
    except FloatingPointError:
        return float("nan")


def evaluate(group: Group, model: nn.Module, examine: Dataset) -> dict[str, float]:
    """Loss and accuracy on the test set; each rank looks at every size-th sample of it."""
    faults.point("evaluate")
    mine = examine.rows(slice(group.rank, None, group.size))
    with faults.work("computing"), torch.no_grad():
        model.eval()
        right = (model(mine.inputs).argmax(-1) == mine.targets).sum()
        sums = torch.stack([summed_loss(model, mine), right]).double()
        model.train()
    loss, accuracy = (group.all_reduce(sums) / examine.targets.numel()).tolist()
    return {"test_loss": loss, "accuracy": accuracy}


def summed_loss(model: nn.Module, samples: Dataset) -> Tensor:
    """The cross-entropy summed over all targets, not averaged: shards may differ in size."""
    scores = model(samples.inputs)
    return F.cross_entropy(scores.flatten(0, -2), samples.targets.flatten(), reduction="sum")


def check(
    model: str, batch: int | None, shards: int, on_loss: str, redundancy: int, compare_parts: bool
) -> None:
    """Raises ValueError with what to write instead."""
    if model not in RECIPES:
        raise ValueError(f"there is no model {model!r}: use one of {', '.join(RECIPES)}")
    if batch is not None and batch < 1:
        raise ValueError(f"a global batch cannot have {batch} samples: use 1 or more")
    if shards < 1:
        raise ValueError(f"a batch cannot be cut into {shards} shards: use 1 or more")
    if on_loss not in ("stop", "continue"):
        raise ValueError(f'on_loss={on_loss!r} means nothing: use "stop" or "continue"')
    if redundancy not in (1, 2):
        raise ValueError(f"redundancy={redundancy}: a shard is computed by 1 rank or by 2")
    if compare_parts:
        raise ValueError(
            "with zero=True each rank's part of the weights goes to all, and so does an error in "
            "it: there is nothing to compare. Leave out compare_every"
        )
