"""ZeRO-1: every rank keeps the optimizer's state of its part of the weights, and of no others.

Adam holds two numbers for each weight, and in plain data-parallel training all ranks hold the same
two. The first stage of ZeRO, optimizer state partitioning (S. Rajbhandari et al., "ZeRO: Memory
Optimizations Toward Training Trillion Parameter Models", SC 2020, §5.1), cuts them among the n
ranks: each applies the optimizer to its part, and an all-gather brings the new weights to all. That
all-gather is the price: (n-1)/n of the weights' bytes behind a gradient's all-reduce of twice as
many. (§7.1 has none, with a reduce-scatter in place of the all-reduce; but here every rank judges
the whole gradient, see `numerics.py`.)

The weights get the same bits as without it, whatever the number of ranks. The optimizer must treat
each element for itself, as SGD and Adam do, and a parameter is cut at multiples of `BLOCK` elements
only, so that no element changes its place in a vector register.

What a rank keeps nobody else has, so a death takes a part of the state with it. It comes back

1. from the copy in the memory of its right neighbour (`labkit.checkpoint.replica`), which is
   refreshed every `replicate_every` steps: at most so many are done again. With 1 that is the step
   that not all had applied, as without ZeRO;
2. from the newest checkpoint, when two neighbours are gone, or another goes before the parts are
   copied anew: all steps since are done again. It has whole tensors, of which each rank wrote its
   part: any number of ranks can read it, with ZeRO or without;
3. from the beginning, when there is no checkpoint.

The copies, of weights and state, lie in the host's memory: of a rank's own part and of its
neighbour's, and of each the one before it, since a death may tear the newest. With Adam's state
that is 12/n of the weights' bytes, where ZeRO saves 2 - 2/n: in a device's memory it saves from two
ranks on, and on a host that has to hold both from eight.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from labkit import events, faults
from labkit.checkpoint.replica import Replicas
from labkit.checkpoint.tree import Portion
from labkit.collectives import ring
from labkit.training.buckets import PREEMPTED
from labkit.training.state import State, catch_up
from labkit.view import PeerLost

if TYPE_CHECKING:
    from labkit.collectives.group import Group
    from labkit.training.durable import Durable

BLOCK = 64
"""Elements: a multiple of what a vector instruction takes, so that a loop over a piece treats each
as a loop over the whole does."""


@dataclass(frozen=True)
class Zero:
    """Every part is copied to the next rank after each `replicate_every` steps."""

    replicate_every: int = 1

    def __post_init__(self) -> None:
        if self.replicate_every < 1:
            raise ValueError(f"replicate_every={self.replicate_every}: use 1 or more")


class Piece(NamedTuple):
    """Elements `start` to `stop` of a parameter, which has this number, in its flat order."""

    number: int
    start: int
    stop: int


def partition(sizes: Sequence[int], place: int, size: int) -> list[Piece]:
    """The part of the rank at `place` of `size`: neighbouring blocks of parameters with so many
    elements, as many as others have or one less. Raises ValueError where some would have none."""
    counts = [-(-elements // BLOCK) for elements in sizes]
    if sum(counts) < size:
        raise ValueError(f"{size} ranks cannot share {sum(counts)} blocks: train without zero=True")
    begin, end = place * sum(counts) // size, (place + 1) * sum(counts) // size
    pieces, at = [], 0
    for number, (elements, count) in enumerate(zip(sizes, counts, strict=True)):
        first, last = max(begin - at, 0), min(end - at, count)
        if first < last:
            pieces.append(Piece(number, first * BLOCK, min(last * BLOCK, elements)))
        at += count
    return pieces


class ZeroOptimizer(Optimizer):
    """The optimizer `make(parts, lr)`, of which this rank has its part among those of a group.

    Until `share` it has all of it. Then `step` is collective: it raises PeerLost, and weights and
    state are then of no step.
    """

    def __init__(
        self, make: Callable[..., Optimizer], parameters: Iterable[nn.Parameter], lr: float
    ) -> None:
        self.whole: list[Tensor] = list(parameters)
        self.make = make
        self.sizes = [parameter.numel() for parameter in self.whole]
        super().__init__(self.whole, {"lr": lr})
        self.cut(0, 1)

    def cut(self, place: int, size: int) -> None:
        """This rank's part is another one, of which no state is known yet."""
        self.size, self.pieces = size, partition(self.sizes, place, size)
        self.parts = [self._flat(number)[start:stop] for number, start, stop in self.pieces]
        self.inner = self.make(self.parts, self.param_groups[0]["lr"])

    def share(self, group: Group) -> None:
        """Its part is that of its place in the group; the state is taken from what it has."""
        known = self.shard()
        self.cut(group.rank, group.size)
        self.adopt(known)

    def join(self, group: Group) -> None:
        """Room for the weights on their way, as they lie one behind the other: it belongs to the
        group."""
        self.group, places = group, range(group.size)
        parts = [partition(self.sizes, place, group.size) for place in places]
        lengths = [[stop - start for _, start, stop in part] for part in parts]
        row = group.bucket(sum(self.sizes), self.whole[0].dtype)
        self.chunks = list(row.split([sum(part) for part in lengths]))
        self.outgoing = self.chunks[group.rank].split(lengths[group.rank])
        self.incoming = [
            values.view_as(parameter)
            for values, parameter in zip(row.split(self.sizes), self.whole, strict=True)
        ]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Applies the gradients to this rank's part; then all have all the new weights."""
        self.inner.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        for (number, start, stop), part in zip(self.pieces, self.parts, strict=True):
            gradient = self.whole[number].grad
            part.grad = None if gradient is None else gradient.view(-1)[start:stop]
        self.inner.step()
        self.inner.zero_grad()  # they are views of the group's memory
        if self.size > 1:
            self._all_gather()

    def _all_gather(self) -> None:
        torch._foreach_copy_(self.outgoing, self.parts)
        faults.point("zero.all_gather")
        with events.span("all-gather", bytes=sum(chunk.nbytes for chunk in self.chunks)):
            group, chunks = self.group, self.chunks
            group.submit(lambda: ring.all_gather(group.link, chunks), "all_gather").wait()
        torch._foreach_copy_(self.whole, self.incoming)

    # -- the state, as parts go between ranks

    def shard(self) -> dict[str, Any]:
        """Weights and state of this rank's part; the tensors are the live ones."""
        state = [self.inner.state.get(part, {}) for part in self.parts]
        return {"pieces": self.pieces, "weights": self.parts, "state": state}

    def adopt(self, shard: Mapping[str, Any]) -> None:
        """All the weights of any rank's part, and of its state what belongs to this rank's."""
        columns = shard["pieces"], shard["weights"], shard["state"]
        for (number, start, stop), weights, state in zip(*columns, strict=True):
            self._flat(number)[start:stop] = weights
            for key, value in state.items():
                self._fill(key, value, Piece(number, start, stop))

    def _fill(self, key: str, value: Tensor, there: Piece) -> None:
        """`value` has an element for each of `there`, or is one for all (the step, for Adam)."""
        for mine, part in zip(self.pieces, self.parts, strict=True):
            start, stop = max(mine.start, there.start), min(mine.stop, there.stop)
            if mine.number != there.number or start >= stop:
                continue
            state = self.inner.state[part]
            if value.dim() == 0:
                state[key] = value.clone()
                continue
            if key not in state:
                state[key] = torch.empty_like(part, dtype=value.dtype)
            state[key][start - mine.start : stop - mine.start] = value[
                start - there.start : stop - there.start
            ]

    def _flat(self, number: int) -> Tensor:
        return self.whole[number].detach().view(-1)

    # -- the state, as it is without ZeRO

    def state_dict(self) -> dict[str, Any]:
        """That of `make`'s optimizer of all the weights, with a `Portion` in place of each tensor
        of which this rank has a part."""
        (options,) = self.inner.state_dict()["param_groups"]
        everything = list(range(len(self.whole)))
        state = {number: self._entry(number) for number in everything} if self.inner.state else {}
        return {"state": state, "param_groups": [{**options, "params": everything}]}

    def _entry(self, number: int) -> dict[str, Tensor | Portion]:
        """The state of one parameter. What is one number is the same for all parameters."""
        shape = tuple(self.whole[number].shape)
        pairs = zip(self.pieces, self.parts, strict=True)
        none = Piece(number, 0, 0), self.parts[0]
        piece, part = next((pair for pair in pairs if pair[0].number == number), none)
        entry: dict[str, Tensor | Portion] = {}
        for key, value in self.inner.state[part].items():
            if value.dim() == 0:
                entry[key] = value
            elif self.size == 1:
                entry[key] = value.view(shape)
            else:
                entry[key] = Portion(value[: piece.stop - piece.start], shape, piece.start)
        return entry

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Takes its part of whole tensors, or its portions back."""
        self.inner.state.clear()
        for number, entry in saved["state"].items():
            for key, leaf in entry.items():
                if isinstance(leaf, Portion):
                    stop = leaf.start + leaf.values.numel()
                    self._fill(key, leaf.values, Piece(number, leaf.start, stop))
                else:
                    value = leaf if leaf.dim() == 0 else leaf.reshape(-1)
                    self._fill(key, value, Piece(number, 0, self.sizes[number]))


class Parts:
    """The parts of an elastic training: after each step they are copied, and in every new view they
    come back and are cut anew. Belongs to the training thread.

    `fresh()` makes a state at step 0, for when all is lost.
    """

    def __init__(
        self, zero: Zero, state: State, durable: Durable | None, fresh: Callable[[], State]
    ) -> None:
        assert isinstance(state.optimizer, ZeroOptimizer)
        self.zero, self.optimizer, self.durable, self.fresh = zero, state.optimizer, durable, fresh
        self.replicas = Replicas()
        self.began = False  # since then the live state may be of no step

    def catch_up(self, group: Group, state: State, last: int) -> None:
        """Afterwards all members of the new group are at the same step, and each has its part, and
        a copy of its neighbour's. Raises PeerLost.

        Where one of them has taken the `last` step its weights are all that counts: those who are
        through with it already have left, with their parts.
        """
        faults.point("zero.catch_up")
        if self.durable is not None:
            self.durable.settle()
        began, self.began = self.began, True
        steps = group.all_gather(torch.tensor([state.step], device=group.link.device))
        if max(int(step) for step in steps) >= last:
            self.optimizer.cut(0, 1)
            return catch_up(group, state)
        if not self._recover(group, state):
            if began:
                self._begin_again(state)
            catch_up(group, state)
            self.optimizer.share(group)
        self.optimizer.join(group)
        self._replicate(group, state)

    def step(self, state: State, votes: float, leaves: bool) -> None:
        """After every step, with its votes for leaving the group, and whether this rank leaves it
        for good. Raises PeerLost."""
        group = self.optimizer.group
        if votes or state.step % self.zero.replicate_every == 0:
            self._replicate(group, state)
        if votes >= PREEMPTED:
            self.replicas.bequeath(group, leaves)
            with contextlib.suppress(PeerLost):  # all have it: who leaves may be gone already
                group.barrier()

    def _recover(self, group: Group, state: State) -> bool:
        """Whether all parts of a step are in the members' memories; it is theirs then."""
        place = None
        for shard in self.replicas.recover_all(group):
            if place is None:
                self.optimizer.cut(group.rank, group.size)
            self.optimizer.adopt(shard)
            place = shard["place"]
        if place is not None:
            state.return_to(place)
        return place is not None

    def _replicate(self, group: Group, state: State) -> None:
        shard = self.optimizer.shard() | {"place": state.place()}
        self.replicas.save(group, state.step, shard)

    def _begin_again(self, state: State) -> None:
        """With all of the newest checkpoint, or at step 0."""
        self.optimizer.cut(0, 1)
        events.record("note", "a part of the optimizer's state is in no rank's memory")
        if self.durable is None or not self.durable.restore():
            state.unpack(self.fresh().pack())
            events.record("note", "there is no checkpoint: begins again at step 0")
