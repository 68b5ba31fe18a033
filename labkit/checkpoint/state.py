"""What a training state is: everything without which a resumed run is another run.

The weights alone are not enough. Without the optimizer's moments the first steps jump; without the
schedule the rate starts over; without the sampler's place some samples come twice and others never;
without the random state dropout draws other masks; without the scaler float16 overflows anew. Each
of these is a *piece*: an object that can say its state and take it back, as models, optimizers and
schedulers of torch do. With all of them, a run that was stopped and resumed has the same bits as
one that was not: loss, weights, order of samples.

    pieces = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "scaler": scaler,
              "sampler": sampler, "average": averaged, "progress": Progress(), "random": Random()}
    saved = capture(pieces)       # refers to the live tensors: nothing is copied here
    restore(pieces, saved)        # the same bits again

A *safe point* is a place between two steps where no piece has moved without the others: after
`optimizer.step`, `scheduler.step` and `sampler.advance`, before the next batch is drawn.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

Pieces = Mapping[str, Any]
"""Objects by name. Each has `state_dict()` and `load_state_dict(state)`, as torch's own do, or
`state()` and `restore(state)`, as the lab's sampler does."""

OWN = frozenset({"random"})
"""Pieces of which every rank has its own; the others are the same on all ranks."""


class MissingPiece(LookupError):
    """A checkpoint lacks a piece that this training has, or has one that this training lacks."""


def capture(pieces: Pieces) -> dict[str, Any]:
    """The state of every piece. Its tensors are the live ones: `snapshot.py` copies them."""
    return {name: _of(piece, "state_dict", "state")() for name, piece in pieces.items()}


def restore(
    pieces: Pieces, saved: Mapping[str, Any], without: frozenset[str] = frozenset()
) -> None:
    """Gives every piece its state back. `without` names those that stay as they are.

    Raises MissingPiece before anything is changed when the names are not the same; what a piece
    itself raises (a model with other layers, say) comes through, and then some have changed.
    """
    wanted, there = set(pieces) - without, set(saved) - without
    if wanted != there:
        lacks = ", ".join(sorted(wanted - there)) or "nothing"
        more = ", ".join(sorted(there - wanted)) or "nothing"
        raise MissingPiece(
            f"the checkpoint lacks {lacks} that this training has, and has {more} that it lacks. "
            "A run resumed without a piece is another run: give the same pieces, or name those "
            "to go without"
        )
    for name in pieces:
        if name in wanted:
            _of(pieces[name], "load_state_dict", "restore")(saved[name])


def _of(piece: Any, *names: str) -> Any:
    for name in names:
        if hasattr(piece, name):
            return getattr(piece, name)
    raise TypeError(f"a {type(piece).__name__} is no piece of a state: it has no {names[0]}()")


@dataclass
class Progress:
    """How far the training is: steps applied, epochs finished, and counters (tokens, samples)."""

    step: int = 0
    epoch: int = 0
    counters: dict[str, float] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step, self.epoch = state["step"], state["epoch"]
        self.counters = dict(state["counters"])


class Random:
    """The global random generators of this process: Python's, torch's, CUDA's (one each device),
    and NumPy's when something here has imported it."""

    def state_dict(self) -> dict[str, Any]:
        version, words, gauss = random.getstate()
        state: dict[str, Any] = {
            "python": (version, torch.tensor(words), gauss),
            "torch": torch.get_rng_state(),
        }
        if "numpy" in sys.modules:
            name, keys, *rest = sys.modules["numpy"].random.get_state()
            state["numpy"] = (name, torch.from_numpy(keys.astype("int64")), *map(_number, rest))
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            state["cuda"] = torch.cuda.get_rng_state_all()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises RuntimeError when there are not as many CUDA devices as there were."""
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words.tolist()), gauss))
        torch.set_rng_state(state["torch"].cpu())
        if "numpy" in state:
            import numpy

            name, keys, *rest = state["numpy"]
            numpy.random.set_state((name, keys.numpy().astype("uint32"), *rest))
        if "cuda" in state:
            here = torch.cuda.device_count()
            if len(state["cuda"]) != here:
                raise RuntimeError(
                    f"random states of {len(state['cuda'])} CUDA devices were saved, and {here} "
                    "are here: resume on as many, or without the piece 'random'"
                )
            torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])


def _number(value: Any) -> int | float:
    return float(value) if isinstance(value, float) else int(value)
