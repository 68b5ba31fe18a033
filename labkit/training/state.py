"""What must outlive a death, and how the members of a group come to the same of it."""

from __future__ import annotations

import hashlib
import io
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

    def unpack(self, packed: bytes) -> None:
        where = next(self.model.parameters()).device
        parts = torch.load(io.BytesIO(packed), map_location=where, weights_only=True)
        model, optimizer, place = parts
        self.model.load_state_dict(model)
        self.optimizer.load_state_dict(optimizer)
        self.return_to(place)


def catch_up(group: Group, state: State, roll_forward: RollForward = roll_forward) -> None:
    """The state of the most advanced member goes to all the others. Raises PeerLost.

    A rank that dies inside an all-reduce may leave survivors that have its result, and have applied
    step k, beside others that have not. They agree on all that came before, so k counts; a step
    that nobody has applied is done again.
    """
    device = next(state.model.parameters()).device
    steps = [int(s) for s in group.all_gather(torch.tensor([state.step], device=device))]
    source, behind, _ = roll_forward(dict(enumerate(steps)), 1)
    if behind:
        faults.point("catch_up")
        hand_over(group, state, source, takes=group.rank in behind)


def hand_over(group: Group, state: State, source: int, takes: bool) -> None:
    """The state of the member at place `source` goes to all, and is taken by who `takes` it."""
    device = next(state.model.parameters()).device
    with events.span("restoring", step=state.step):
        packed = state.pack() if group.rank == source else b""
        length = group.broadcast(torch.tensor([len(packed)], device=device), source)
        blank = bytearray(int(length)) if group.rank != source else bytearray(packed)
        file = torch.frombuffer(blank, dtype=torch.uint8).to(device)
        packed = group.broadcast(file, source).cpu().numpy().tobytes()
        if takes:
            state.unpack(packed)


def mend(group: Group, state: State) -> None:
    """Replicas whose bits are not the majority's take those of another. Raises PeerLost, and
    Disagreement where there is no majority."""
    odd = corruption.compare(group, state.model, state.optimizer)
    if odd:
        source = next(place for place in range(group.size) if place not in odd)
        if group.rank == source:
            who = ranks([group.members[place] for place in odd])
            events.record("note", f"step {state.step}: the weights of {who} are not the others'")
        hand_over(group, state, source, takes=group.rank in odd)


def fingerprint(model: nn.Module) -> str:
    """16 hexadecimal digits that tell whether two ranks hold the same bits."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
