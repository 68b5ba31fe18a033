"""What must outlive a death, and how the members of a group come to the same of it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from labkit import events, faults
from labkit.runtime.diagnosis import ranks
from labkit.training import corruption
from labkit.training.numerics import Guard
from labkit.training.pieces import RollForward, roll_forward
from labkit.training.redundant import Kept
from labkit.training.sampler import Sampler

if TYPE_CHECKING:
    from labkit.collectives.group import Group
    from labkit.collectives.link import Link


@dataclass
class State:
    """What must outlive a death: the weights, the optimizer's, the place in the data, the step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    sampler: Sampler
    guard: Guard = field(default_factory=Guard)
    step: int = 0  # steps done: applied, or left out
    loss: float = float("nan")  # of the last of them
    kept: Kept = field(default_factory=Kept)  # what this rank has computed of the next

    def place(self) -> dict[str, Any]:
        """All but the tensors."""
        place = {"sampler": self.sampler.state(), "guard": self.guard.state()}
        return {**place, "step": self.step, "loss": self.loss}

    def return_to(self, place: dict[str, Any]) -> None:
        self.sampler.restore(place["sampler"])
        self.guard.restore(place["guard"])
        self.step, self.loss = place["step"], place["loss"]

    def pack(self) -> bytes:
        file = io.BytesIO()
        torch.save((self.model.state_dict(), self.optimizer.state_dict(), self.place()), file)
        return file.getvalue()

    def unpack(self, packed: bytes | bytearray) -> None:
        where = next(self.model.parameters()).device
        parts = torch.load(io.BytesIO(packed), map_location=where, weights_only=True)
        model, optimizer, place = parts
        self.model.load_state_dict(model)
        self.optimizer.load_state_dict(optimizer)
        self.return_to(place)


def catch_up(
    group: Group, state: State, roll_forward: RollForward = roll_forward, wary: bool = False
) -> None:
    """The state of the most advanced member goes to all the others. Raises PeerLost.

    A rank that dies inside an all-reduce may leave survivors that have its result, and have applied
    step k, beside others that have not. They agree on all that came before, so k counts; a step
    that nobody has applied is done again.

    Who is `wary` compares first what the most advanced have: a silent corruption that is handed on
    would be in the majority. Who differs from most of them is behind too. Raises Disagreement.
    """
    device = next(state.model.parameters()).device
    steps = [int(s) for s in group.all_gather(torch.tensor([state.step], device=device))]
    source, behind, _ = roll_forward(dict(enumerate(steps)), 1)
    if behind and wary:
        ahead = [place for place in range(group.size) if place not in behind]
        odd = corruption.compare(group, state.model, state.optimizer, ahead)
        source = next(place for place in ahead if place not in odd)
        behind = [*behind, *odd]
    if behind:
        faults.point("catch_up")
        hand_over(group, state, source, sorted(behind))


PIECE = 4 << 20
"""Bytes of a state that travel at once."""


def hand_over(group: Group, state: State, source: int, behind: Sequence[int]) -> None:
    """The state of the member at place `source` goes to those at the places `behind`, from one to
    the other: through no third one's hands, and into nobody else's memory. Raises PeerLost, and has
    then changed nothing."""
    what = f"handing the state of place {source} over to {list(behind)}"
    if group.rank != source and group.rank not in behind:
        group.submit(lambda: None, "hand_over", what).wait()  # all count it, as any collective
        return
    with events.span("restoring", step=state.step):
        if group.rank == source:
            packed = state.pack()
            group.submit(lambda: _send(group.link, packed, behind), "hand_over", what).wait()
        else:
            task = group.submit(lambda: _receive(group.link, source), "hand_over", what)
            state.unpack(task.wait())


def _send(link: Link, packed: bytes, to: Sequence[int]) -> None:
    length = torch.tensor([len(packed)], device=link.device)
    link.transfer([(length, place) for place in to]).wait()
    for piece in torch.frombuffer(bytearray(packed), dtype=torch.uint8).split(PIECE):
        faults.point("hand_over")
        there = piece.to(link.device)
        link.transfer([(there, place) for place in to]).wait()


def _receive(link: Link, source: int) -> bytearray:
    length = torch.zeros(1, dtype=torch.int64, device=link.device)
    link.receive(length, source)
    file = bytearray(int(length))
    for piece in torch.frombuffer(file, dtype=torch.uint8).split(PIECE):
        faults.point("hand_over")
        there = piece.to(link.device)
        link.receive(there, source)
        piece.copy_(there)
    return file


def mend(group: Group, state: State) -> None:
    """Replicas whose bits are not the majority's take those of another. Raises PeerLost, and
    Disagreement where there is no majority."""
    odd = corruption.compare(group, state.model, state.optimizer, range(group.size))
    if odd:
        source = next(place for place in range(group.size) if place not in odd)
        if group.rank == source:
            who = ranks([group.members[place] for place in odd])
            events.record("note", f"step {state.step}: the weights of {who} are not the others'")
        hand_over(group, state, source, odd)


def fingerprint(model: nn.Module) -> str:
    """16 hexadecimal digits that tell whether two ranks hold the same bits."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
