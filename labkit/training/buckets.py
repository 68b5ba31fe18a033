"""Gradients on their way: summed over the shards of a rank, then over the ranks, in buckets.

The gradient of the last layer is ready first, so the buckets are filled from the last parameter to
the first, and each starts its all-reduce when its last gradient arrives, while the backward pass of
the earlier layers goes on: communication hides behind computation. Only the last bucket waits for
`wait`: it is full when that pass is over. One message for each parameter would pay the latency of
each; a single one for all could hide nothing. The size of a bucket is that choice (S. Li et al.,
"PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 2020, §3.2). All
ranks start their buckets in the same order, else they would wait for each other crosswise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from labkit.training.in_order import sum_in_order
from labkit.training.numerics import finite

if TYPE_CHECKING:
    from labkit.collectives.group import Group
    from labkit.collectives.link import Link
    from labkit.collectives.pending import Pending, PendingCopy

    Algorithm = str | Callable[[Link, Tensor], None]

IN_ORDER = "in_order"
"""The algorithm whose sum has the same bits whatever the number of ranks (`in_order.py`)."""


TAIL = 3
"""Elements behind the gradients that ride along in the last bucket: the loss, and the votes for
what all do together after this step: leave the group, write a checkpoint. One for each place of
the group follows, for a number that it tells the others."""


PREEMPTED = 1 << 16
"""A vote that no number of plain ones amounts to; sums of it are exact in float32."""


class Bucket:
    """Neighbouring parameters and a flat buffer `total` [size] for their summed gradients.

    `total` belongs to the group. With `rows`, each shard of this rank has a row of its own in
    `rows` [rows, size], to be added later in the order of the shards; without, every shard is added
    into `total` at once.
    """

    def __init__(self, parameters: list[nn.Parameter], total: Tensor, rows: int | None) -> None:
        self.parameters, self.total = parameters, total
        self.rows = None if rows is None else total.new_zeros(rows, len(total))
        self.missing = 0  # gradients of this rank's last shard that have not arrived
        self.aimed_at: Tensor | None = None

    def empty(self) -> None:
        self.missing = len(self.parameters)
        self.addends.zero_()

    @property
    def addends(self) -> Tensor:
        """Where this rank's own gradients are."""
        return self.total if self.rows is None else self.rows

    def places(self) -> Iterable[tuple[nn.Parameter, slice]]:
        """Each parameter and its part of the flat buffer."""
        start = 0
        for parameter in self.parameters:
            yield parameter, slice(start, start + parameter.numel())
            start += parameter.numel()

    def aim(self, buffer: Tensor) -> None:
        """Every `.grad` becomes its part of `buffer` [size], where autograd adds in place."""
        if buffer is not self.aimed_at:
            self.aimed_at = buffer
            for parameter, place in self.places():
                parameter.grad = buffer[place].view_as(parameter)

    def row(self, number: int) -> Tensor:
        """Where this rank's shard of that number is added."""
        return self.total if self.rows is None else self.rows[number]


class Buckets:
    """The gradient of `model` over all ranks of `group`; new ones for every new group.

    A collective that was left behind by a death may still write into its buffer a second later, so
    no buffer is given to two groups. `shares` says which shards each place of the group computes.
    `algorithm` is one of the group's ("builtin" is torch's own), "in_order", or a function that
    sums a 1-D tensor over the ranks of a link, in place.

        buckets.begin()
        for shard in buckets.shards():
            buckets.backward(loss_of(shard))
        loss = buckets.wait()              # every .grad holds the sum over all shards

    `votes` says how many ranks began the last step with a vote for leaving, `saves` how many with
    one for a checkpoint, `told` what each place told the others, and `finite` whether this rank's
    own part of the sum was. With a `scale` the model computes as if in float16: the loss is
    multiplied by it, and every gradient passes through that type.
    """

    def __init__(
        self,
        model: nn.Module,
        group: Group,
        shares: Sequence[Sequence[int]],
        algorithm: Algorithm = "ring",
        bucket_bytes: int = 1 << 20,
    ) -> None:
        self.group, self.shares, self.algorithm = group, shares, algorithm
        self.mine = shares[group.rank]
        self.tail = TAIL + group.size
        rows = max(1, len(self.mine)) if algorithm == IN_ORDER else None  # one for the votes
        lists = fill(list(model.parameters())[::-1], bucket_bytes)
        self.buckets = [Bucket(ps, self._room(ps, ps is lists[-1]), rows) for ps in lists]
        self.hooks = [
            parameter.register_post_accumulate_grad_hook(self._collector(bucket, place))
            for bucket in self._counted()
            for parameter, place in bucket.places()
        ]
        self.nbytes = sum(bucket.total.nbytes for bucket in self.buckets)
        self.shard = 0  # shards of this rank begun in this step
        self.words: list[int] = []  # of the tail, behind the loss
        self.votes = self.saves = 0.0
        self.told: list[float] = []
        self.finite = True
        self.scale: float | None = None
        self.poison: float | None = None  # for one element of this rank's gradient: a fault
        self.distortions: list[RemovableHandle] = []
        self.pending: list[Pending | PendingCopy] = []

    def begin(self, vote: int = 0, save: bool = False, tells: int = 0) -> None:
        """Empties the buckets for a new step; with a `vote` for leaving the group behind it, which
        is `PREEMPTED` of a rank that leaves for good, one for writing a checkpoint then, and what
        this rank `tells` the others: at most 2**24, or it is rounded."""
        self.shard, self.pending, self.finite = 0, [], True
        self.words = [vote, save, *(tells * (p == self.group.rank) for p in range(self.group.size))]
        self.votes, self.saves, self.told = 0.0, 0.0, []
        for bucket in self.buckets:
            bucket.empty()
        if not self.mine:  # more ranks than shards: no shard's loss takes the words along
            self._add_words(self.buckets[-1].row(0))
        while self.distortions:
            self.distortions.pop().remove()

    def shards(self) -> Iterable[int]:
        """Which shards this rank computes in this step, in this order."""
        return self.mine

    def backward(self, loss: Tensor) -> None:
        """Adds the next shard: `loss` is its part of the global batch's mean."""
        self.shard += 1
        self._aim()
        self._collect_tail(self.buckets[-1], loss.detach())
        if not self.distortions and (self.scale, self.poison) != (None, None):
            parameters = [p for bucket in self.buckets for p in bucket.parameters]
            self.distortions = [p.register_hook(self._distort) for p in parameters]
        (loss if self.scale is None else loss * self.scale).backward()

    def wait(self) -> float:
        """Puts the sum over all shards into every `.grad`; returns the loss of the global batch.

        The gradients are views of the buckets, good until the next `begin`. Raises PeerLost.
        """
        self._finish()
        self._hand_out()
        loss, self.votes, self.saves, *self.told = self.buckets[-1].total[-self.tail :].tolist()
        return loss

    def sums(self) -> list[Tensor]:
        """After `wait`: all that the `.grad`s are made of, in as few tensors as can be."""
        return [bucket.total for bucket in self.buckets]

    def close(self) -> None:
        """Takes the hooks off the model, so that the buckets of another group can be hung on it."""
        for hook in (*self.hooks, *self.distortions):
            hook.remove()
        for bucket in self.buckets:
            for parameter in bucket.parameters:
                parameter.grad = None  # a view of memory that belongs to the group

    def _room(self, parameters: list[nn.Parameter], last: bool) -> Tensor:
        """A flat buffer of the group; the last one has a tail."""
        size = sum(p.numel() for p in parameters) + self.tail * last
        shared = self.algorithm == "shared_memory"
        return self.group.bucket(size, parameters[0].dtype, shared)

    # What a sum in another kind of number does otherwise (`exact.py`, `redundant.py`):

    def _is_last_shard(self) -> bool:
        """No shard of this rank follows: a bucket may start as soon as it is full."""
        return self.shard == len(self.mine)

    def _counted(self) -> list[Bucket]:
        """The buckets whose gradients are noticed one by one as they arrive."""
        return self.buckets[:-1]

    def _aim(self) -> None:
        """Says where autograd adds the gradients of the shard that comes now."""
        for bucket in self.buckets:
            bucket.aim(bucket.row(self.shard - 1))

    def _collect(self, bucket: Bucket, place: slice, parameter: Tensor) -> None:
        """A gradient is there: nothing is left to do where autograd has added it in place."""

    def _collect_tail(self, bucket: Bucket, loss: Tensor) -> None:
        row = bucket.row(self.shard - 1)
        row[-self.tail].add_(loss)
        if self.shard == 1:
            self._add_words(row)

    def _add_words(self, row: Tensor) -> None:
        if any(self.words):  # seldom, and a tensor of them takes as long as all the rest
            row[1 - self.tail :] += row.new_tensor(self.words)

    def _finish(self) -> None:
        """All sums are there when it returns."""
        while len(self.pending) < len(self.buckets):  # the last; on a rank without shards, all
            self._start_next()
        for pending in self.pending:
            pending.wait()

    def _hand_out(self) -> None:
        """Every `.grad` becomes its part of the sum."""
        for bucket in self.buckets:
            bucket.aim(bucket.total)

    def _collector(self, bucket: Bucket, place: slice) -> Callable[[Tensor], None]:
        """A hook that autograd calls when a parameter's gradient for one shard is complete."""

        def collect(parameter: Tensor) -> None:
            self._collect(bucket, place, parameter)
            if self._is_last_shard():
                bucket.missing -= 1
                if not bucket.missing:
                    self._start_full()

        return collect

    def _distort(self, gradient: Tensor) -> Tensor:
        """What a smaller type, or a fault, does to a shard's gradient before it is added."""
        if self.scale is not None:
            gradient = gradient.half().to(gradient.dtype)
        if self.poison is not None:
            gradient = gradient.clone(memory_format=torch.contiguous_format)
            gradient.view(-1)[0], self.poison = self.poison, None
        return gradient

    @property
    def _next(self) -> Bucket:
        return self.buckets[len(self.pending)]

    def _start_full(self) -> None:
        while len(self.pending) < len(self.buckets) and not self._next.missing:
            self._start_next()

    def _start_next(self) -> None:
        """Starts a bucket's sum over the ranks, on the group's own thread."""
        rows, total = self._next.rows, self._next.total
        if total.is_floating_point():
            self.finite = self.finite and finite([self._next.addends])
        self.pending.append(self._sum(rows, total))

    def _sum(self, rows: Tensor | None, total: Tensor) -> Pending | PendingCopy:
        if rows is not None:
            return self._sum_in_order(rows, total)
        if isinstance(self.algorithm, str):
            return self.group.all_reduce_async(total, algorithm=self.algorithm)
        return self.group.submit(partial(self.algorithm, self.group.link, total), "own all-reduce")

    def _sum_in_order(self, rows: Tensor, total: Tensor) -> Pending:
        def task() -> None:
            shares = [share or (0,) for share in self.shares]  # who has none sends its votes
            sum_in_order(self.group.link, rows, total, shares)

        return self.group.submit(task, IN_ORDER)


def fill(parameters: Iterable[nn.Parameter], bucket_bytes: int) -> list[list[nn.Parameter]]:
    """Cuts the parameters, in the order given, into lists of at most `bucket_bytes` each.

    A parameter that is larger than that has a bucket of its own.
    """
    lists: list[list[nn.Parameter]] = []
    room = 0
    for parameter in parameters:
        if not lists or parameter.nbytes > room:
            lists.append([])
            room = bucket_bytes
        lists[-1].append(parameter)
        room -= parameter.nbytes
    return lists
