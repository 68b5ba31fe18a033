"""What to do with a gradient that is not a number, and with a loss that runs away.

Every rank applies the same sum, and one NaN in it is a NaN for all. So all ranks look at the *sum*,
before it is applied: they see the same bits and decide the same without another message. A rank
that looked at its own gradient and left the step out alone would hold other weights than the rest
from then on, and nobody would notice.

A step that is not applied still counts: its batch is passed over, so that the numbers of steps and
the places in the data stay the same on all ranks, also for one that joins later.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from labkit import events
from labkit.runtime.diagnosis import ranks

if TYPE_CHECKING:
    from labkit.collectives.group import Group
    from labkit.training.buckets import Buckets
    from labkit.training.state import State

POLICIES = ("skip", "lower rate", "roll back")


class Diverged(RuntimeError):
    """Too many steps in a row were bad: nothing that a policy does here would mend it."""


def finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no element is NaN or infinite: then their sum is finite, unless it overflows. (The
    largest absolute value would say it too: 30 times as slow.)"""
    return all(math.isfinite(t.sum()) or bool(t.isfinite().all()) for t in tensors)


@dataclass
class LossScale:
    """Keeps the gradients of a float16 model inside float16: 6e-8 … 65504.

    The loss is multiplied by `scale`, so are all gradients, and the sum is divided by it in float32
    before it is applied. When it overflows the step is left out and the scale halved; after
    `interval` good steps it is doubled. (P. Micikevicius and others, "Mixed Precision Training",
    ICLR 2018, §3.2; the numbers are torch.amp.GradScaler's.)
    """

    scale: float = 65536.0
    interval: int = 2000
    good: int = 0  # steps in a row

    def update(self, overflowed: bool) -> None:
        self.good = 0 if overflowed else self.good + 1
        if overflowed:
            self.scale /= 2
        elif self.good == self.interval:
            self.scale, self.good = self.scale * 2, 0


@dataclass
class Guard:
    """Judges each step, alike on all ranks.

    A step is bad when a gradient or the loss is not finite, or the loss is more than `spike` times
    the median of the last `window`. A bad step is never applied; besides that, `policy` "lower
    rate" halves the learning rate, and "roll back" returns to the weights and optimizer of the last
    snapshot, taken every `every` steps, and goes on with the *next* batch. (A. Chowdhery and
    others, "PaLM", 2022, §5.1: restart 100 steps earlier and skip the batches around the spike.)
    With `scale`, what is not finite only halves the scale. After `patience` bad steps in a row:
    Diverged.
    """

    policy: str = "skip"
    spike: float = math.inf
    window: int = 20
    every: int = 10
    patience: int = 10
    scale: LossScale | None = None
    factor: float = 1.0  # for the learning rate
    losses: list[float] = field(default_factory=list)
    bad: int = 0  # steps in a row

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy={self.policy!r} means nothing: use one of {POLICIES}")
        if self.every < 1 or self.patience < 1:
            raise ValueError(f"every={self.every}, patience={self.patience}: steps, from 1")

    def state(self) -> dict[str, Any]:
        """All that decisions depend on: a rank that joins must decide as the others do."""
        scale = None if self.scale is None else (self.scale.scale, self.scale.good)
        return {"factor": self.factor, "losses": self.losses, "bad": self.bad, "scale": scale}

    def restore(self, state: dict[str, Any]) -> None:
        self.factor, self.losses, self.bad = state["factor"], list(state["losses"]), state["bad"]
        if self.scale is not None and state["scale"] is not None:
            self.scale.scale, self.scale.good = state["scale"]

    def judge(self, loss: float, gradients: list[Tensor]) -> str:
        """Why this step is bad; "" for a good one. The gradients are summed over all ranks, and
        leave the loss scale here."""
        whole = math.isfinite(loss) and finite(gradients)
        if self.scale is not None:
            for gradient in gradients:
                gradient.div_(self.scale.scale)
            self.scale.update(overflowed=not whole)
        usual = statistics.median(self.losses) if self.losses else math.inf
        if not whole:
            why = "a gradient is not finite"
        elif loss > self.spike * usual:
            times = loss / usual if usual else math.inf
            why = f"the loss of {loss:.3g} is {times:.1f} times the median"
        else:
            why = ""
            self.losses = [*self.losses, loss][-self.window :]
        self._count(why, whole)
        return why

    def _count(self, why: str, whole: bool) -> None:
        if not why:
            self.bad = 0
            return
        self.bad += 1
        if self.bad >= self.patience:
            raise Diverged(f"{self.bad} steps in a row were left out, the last since {why}")
        if self.policy == "lower rate" and (whole or self.scale is None):
            self.factor /= 2


class Snapshot:
    """Weights and optimizer as they were some steps ago, in memory, for the policy "roll back"."""

    def __init__(self, state: State) -> None:
        """All members of a group make theirs when it is formed, and then at the same steps."""
        self.parts: tuple[Any, Any] | None = None
        self.keep(state, now=True)

    def keep(self, state: State, now: bool = False) -> None:
        guard = state.guard
        if guard.policy == "roll back" and (now or state.step % guard.every == 0):
            self.parts = copy.deepcopy((state.model.state_dict(), state.optimizer.state_dict()))

    def restore(self, state: State) -> None:
        if self.parts is not None:
            model, optimizer = copy.deepcopy(self.parts)
            state.model.load_state_dict(model)
            state.optimizer.load_state_dict(optimizer)


def blame(group: Group, buckets: Buckets) -> list[int]:
    """The ranks whose own gradients were not finite. All ask together, since all see the sum."""
    device = buckets.buckets[0].total.device
    words = group.all_gather(torch.tensor([float(buckets.finite)], device=device))
    return [group.members[place] for place, word in enumerate(words) if not word.item()]


def good(state: State, buckets: Buckets, loss: float, snapshot: Snapshot) -> bool:
    """Whether the summed gradient may be applied; else the guard's policy has been carried out,
    and the record says whose gradient it was. The same on all ranks."""
    guard, group = state.guard, buckets.group
    bad = guard.judge(loss, buckets.sums())
    if not bad:
        return True
    who = blame(group, buckets)
    if group.rank == 0:
        whose = f" on {ranks(who)}" if who else ""
        events.record("note", f"step {state.step} is not applied: {bad}{whose} ({guard.policy})")
    if guard.policy == "roll back":
        snapshot.restore(state)
    return False
