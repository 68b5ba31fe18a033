"""The pieces of the training loop that the course has its learners write, and the lab's own.

`train(mine=…)` is given answers by the name of their exercise, such as `labkit.mine.mine` reads
from notebooks, and puts each in the place where the lab does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from labkit.collectives import ring
from labkit.collectives.link import Link
from labkit.training import sampler
from labkit.view import roll_forward

Answers = Mapping[str, Callable[..., Any]]
RollForward = Callable[[Mapping[int, int], int], Any]
EXERCISES = ("ring.1", "ring.2", "ckpt.2", "elastic.1", "elastic.3")
"""Reduce-scatter, all-gather, the place in the data, whose samples, from whom to whom."""


@dataclass(frozen=True)
class Pieces:
    """`all_reduce` and `place` are None where the lab's own do their work: it has several ways to
    sum, and its sampler counts where `place(step, samples, batch)` computes."""

    all_reduce: Callable[[Link, Tensor], None] | None = None
    place: Callable[[int, int, int], tuple[int, int]] | None = None
    share: Callable[[int, int, int], Sequence[int]] = sampler.share
    roll_forward: RollForward = roll_forward


def pieces(mine: Answers) -> Pieces:
    """The lab's own pieces, with the learner's in their places. Raises ValueError, naming it, for
    an exercise that is no piece of the loop."""
    if not isinstance(mine, Mapping):
        asked = ", ".join(f'"{name}"' for name in EXERCISES)
        raise ValueError(
            f"mine={mine!r}: give the answers, by exercise: mine=labkit.mine.mine({asked}) reads "
            "them from the notebooks of this folder"
        )
    strange = sorted(set(mine) - set(EXERCISES))
    if strange:
        known = ", ".join(EXERCISES)
        raise ValueError(f"exercise {strange[0]} is no piece of the loop: use some of {known}")
    return Pieces(
        _all_reduce(mine) if {"ring.1", "ring.2"} & set(mine) else None,
        mine.get("ckpt.2"),
        _share(mine["elastic.1"]) if "elastic.1" in mine else sampler.share,
        mine.get("elastic.3", roll_forward),
    )


def _all_reduce(mine: Answers) -> Callable[[Link, Tensor], None]:
    """The ring, of which one half may be the lab's."""

    def all_reduce(link: Link, tensor: Tensor) -> None:
        chunks = list(tensor.tensor_split(link.size))
        if "ring.1" in mine:
            mine["ring.1"](link, chunks)
        else:
            ring.reduce_scatter(link, chunks, "sum")
        mine.get("ring.2", ring.all_gather)(link, chunks)

    return all_reduce


def _share(rows: Callable[..., list[int]]) -> Callable[[int, int, int], Sequence[int]]:
    """Which shards, from which of a batch's samples: the shards are the samples of a small one."""
    return lambda place, size, shards: rows(list(range(shards)), 0, shards, place, size)
