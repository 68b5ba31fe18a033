"""A copy of the state in memory, which training may then go on to change.

Weights and the optimizer's state change in `optimizer.step` and nowhere else. So their copy need
not be there when `save` returns: another thread makes it while the next forward and backward pass
only read, and the training thread waits for what is left of it just before the next
`optimizer.step` (J. Mohan, A. Phanishayee and V. Chidambaram, "CheckFreq", FAST 2021, §4.2).
Everything else, small things mostly, is held fast at once.

Whether that was true is checked, not believed: torch counts the changes of every tensor, and a
snapshot during which one was changed is thrown away with its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from labkit import faults
from labkit.checkpoint.shards import Cut, in_order


class ChangedMeanwhile(RuntimeError):
    """A tensor changed while it was copied: the copy is of no moment in time."""


class Memory:
    """Room for one snapshot, used again and again: fresh memory takes ten times as long to fill,
    since the kernel hands it out page by page."""

    def __init__(self) -> None:
        self._room = torch.empty(0, dtype=torch.uint8)

    def room(self, size: int, pinned: bool = False) -> Tensor:
        """uint8 [size], whatever it holds; `pinned` for a GPU that is to copy into it."""
        if len(self._room) < size:
            self._room = torch.zeros(size, dtype=torch.uint8, pin_memory=pinned)
        return self._room[:size]


class Snapshot:
    """The cuts of one rank, in the order of their file, and a flat copy of their bytes.

    `metadata` goes into the file's header. Nothing is copied before `hold` and `copy`.
    """

    def __init__(
        self, cuts: Sequence[Cut], metadata: Mapping[str, str], memory: Memory | None = None
    ) -> None:
        self.cuts, self.metadata = in_order(cuts), dict(metadata)
        self.memory = memory or Memory()
        self.size = sum(cut.nbytes for cut in self.cuts)
        self._versions = [cut.tensor._version for cut in self.cuts]
        self._held: dict[int, Tensor] = {}
        self._places: list[slice] = []
        at = 0
        for cut in self.cuts:
            self._places.append(slice(at, at + cut.nbytes))
            at += cut.nbytes

    def hold(self, which: Callable[[str], bool]) -> None:
        """Copies the tensors of these names now: they may change before `copy` comes to them."""
        for i, cut in enumerate(self.cuts):
            if which(cut.name):
                self._held[i] = cut.values().clone()

    def copy(self) -> None:
        """Copies everything, in another thread perhaps; tensors of a GPU through its default
        stream, behind what it has been given to do.

        Raises ChangedMeanwhile when a tensor that was not held is no more what it was when this
        object was made.
        """
        room = self.make_room()
        for i, cut in enumerate(self.cuts):
            faults.point("checkpoint.copy")
            values = self._held.get(i)
            target = room[self._places[i]].view(cut.tensor.dtype)
            target.copy_(cut.values() if values is None else values)
            if values is None and cut.tensor._version != self._versions[i]:
                raise ChangedMeanwhile(
                    f"{cut.name} changed while it was copied for a checkpoint: only "
                    "optimizer.step may change it, after its hooks. Save with at_once=True"
                )
        self._bytes = room
        self._held.clear()

    def make_room(self) -> Tensor:
        """The memory that `copy` fills; the first time it takes as long as ten copies."""
        return self.memory.room(self.size, any(cut.tensor.is_cuda for cut in self.cuts))

    def data(self, index: int) -> memoryview:
        """The copied bytes of cut `index`."""
        return self._bytes[self._places[index]].numpy().data
