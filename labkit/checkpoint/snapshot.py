"""A copy of the state in memory, which training may then go on to change.

Weights and the optimizer's state change in `optimizer.step` and nowhere else. So their copy need
not be there when `save` returns: another thread makes it while the next forward and backward pass
only read, and the training thread waits for what is left of it just before the next
`optimizer.step` (J. Mohan, A. Phanishayee and V. Chidambaram, "CheckFreq", FAST 2021, §4.2).
Everything else, small things mostly, is copied at once (`SafePoint`).

Whether that was true is checked, not believed: torch counts the changes of every tensor, and a
snapshot during which one was changed is thrown away with its name.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from labkit import faults
from labkit.checkpoint.folder import CheckpointFailed
from labkit.checkpoint.shards import Cut, in_order
from labkit.checkpoint.state import Pieces, capture
from labkit.checkpoint.tree import Portion


class ChangedMeanwhile(CheckpointFailed):
    """A tensor changed while it was copied: the copy is of no moment in time."""


class SafePoint:
    """The state of `pieces` now. What only `optimizer.step` changes is referred to, and watched:
    parameters that an optimizer has, or nobody (frozen ones), and what optimizers have. All else is
    copied in here, an average of the weights too: it also moves behind a step that a scaler has
    left out, and then no hook of the optimizer has waited."""

    def __init__(self, pieces: Pieces) -> None:
        optimizers = [piece for piece in pieces.values() if isinstance(piece, Optimizer)]
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        owned = {id(parameter) for group in groups for parameter in group["params"]}
        self.state: dict[str, Any] = {}
        self._watched: list[tuple[str, str, Tensor, int]] = []
        for name, state in capture(pieces).items():
            piece = pieces[name]
            if isinstance(piece, Optimizer):
                self.state[name] = state
                for place, values in state["state"].items():
                    self._watch(f"{name}/state/{place}", values)
            elif isinstance(piece, nn.Module):
                weights = {
                    key
                    for key, parameter in piece.named_parameters(remove_duplicate=False)
                    if id(parameter) in owned or not parameter.requires_grad
                }
                late = {key: value for key, value in state.items() if key in weights}
                early = {key: value for key, value in state.items() if key not in weights}
                held = copy.deepcopy(early)  # running statistics, say: a forward pass moves them
                self.state[name] = {key: late.get(key, held.get(key)) for key in state}
                self._watch(name, late)
            else:
                self.state[name] = copy.deepcopy(state)

    def _watch(self, way: str, values: Mapping[str, Any]) -> None:
        for key, leaf in values.items():
            value = leaf.values if isinstance(leaf, Portion) else leaf
            if isinstance(value, Tensor):
                self._watched.append((way, key, value, value._version))

    def check(self) -> None:
        """Raises ChangedMeanwhile when what is referred to is no more what it was."""
        for way, key, tensor, version in self._watched:
            if tensor._version != version:
                raise ChangedMeanwhile(
                    f"{way}/{key} changed while it was copied for a checkpoint: only "
                    "optimizer.step may change it, after its hooks. Save with at_once=True"
                )


Kind = tuple[torch.Size, torch.dtype]


class Memory:
    """Room for one snapshot, used again and again: fresh memory takes ten times as long to fill,
    since the kernel hands it out page by page; and so do the views of it, one for each tensor."""

    def __init__(self) -> None:
        self._room = torch.empty(0, dtype=torch.uint8)
        self._views: list[Tensor] = []
        self._kinds: list[Kind] = []

    def room(self, size: int, pinned: bool = False) -> Tensor:
        """uint8 [size], whatever it holds; `pinned` for a GPU that is to copy into it."""
        if len(self._room) < size:
            self._room = torch.zeros(size, dtype=torch.uint8, pin_memory=pinned)
            self._views, self._kinds = [], []
        return self._room[:size]

    def views(self, kinds: list[Kind], places: list[slice]) -> list[Tensor]:
        """The room as tensors of these shapes and types, in these places."""
        if self._kinds != kinds:
            both = zip(kinds, places, strict=True)
            self._views = [self._room[at].view(dtype).view(shape) for (shape, dtype), at in both]
            self._kinds = kinds
        return self._views


class Snapshot:
    """The cuts of one rank, in the order of their file, and a flat copy of their bytes.

    `metadata` goes into the file's header. Nothing is copied before `copy`.
    """

    def __init__(
        self, cuts: Sequence[Cut], metadata: Mapping[str, str], memory: Memory | None = None
    ) -> None:
        self.cuts, self.metadata = in_order(cuts), dict(metadata)
        self.memory = memory or Memory()
        self._values = [cut.values() for cut in self.cuts]
        self._places: list[slice] = []
        at = 0
        for values in self._values:
            self._places.append(slice(at, at := at + values.nbytes))
        self.size = at

    def copy(self) -> None:
        """Copies everything, in another thread perhaps; tensors of a GPU through its default
        stream, behind what it has been given to do.

        In one call, in which no Python runs: of thousands of small tensors each would cost ten
        times what its bytes do, and hold the lock of the interpreter, which the training needs.
        """
        self._bytes = self.make_room()
        kinds = [(values.shape, values.dtype) for values in self._values]
        views = self.memory.views(kinds, self._places)
        faults.point("checkpoint.copy")
        if views:
            torch._foreach_copy_(views, self._values)

    def make_room(self) -> Tensor:
        """The memory that `copy` fills; the first time it takes as long as ten copies."""
        return self.memory.room(self.size, any(cut.tensor.is_cuda for cut in self.cuts))

    @property
    def copied(self) -> Tensor:
        """All the copied bytes, one cut after the other: uint8 [size]."""
        return self._bytes

    def data(self, index: int) -> memoryview:
        """The copied bytes of cut `index`."""
        return self._bytes[self._places[index]].numpy().data
