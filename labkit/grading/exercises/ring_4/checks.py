"""ring.4: how far a ring all-reduce comes when a rank stops in it.

What is right is not computed but seen: the lab's own ring runs on links that count, one of which
stops.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch

from labkit.checks import Case
from labkit.collectives import ring
from labkit.collectives.link import Link, Message
from labkit.collectives.trace import Stuck, trace
from labkit.grading.exercise import Property
from labkit.grading.hidden import hidden
from labkit.views.standstill import steps_ended

MOST = 8
"""Ranks."""


class Standstill(Exception):
    """This rank does nothing any more."""


class CountingLink(Link):
    """Ends so many steps of the link below, and then stands still."""

    def __init__(self, link: Link, most: int) -> None:
        super().__init__(link.rank, link.size)
        self.link, self.most, self.ended = link, most, 0

    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> Any:
        if self.ended == self.most:
            raise Standstill
        pending = self.link.transfer(sends=sends, receives=receives)
        pending.wait()
        self.ended += 1
        return pending


@hidden
def seen(ranks: int, stopped: int, step: int) -> list[int]:
    """The steps that each rank has ended when nobody gets any further."""
    ended = [0] * ranks

    def run(link: Link, chunks: list[torch.Tensor]) -> None:
        counting = CountingLink(link, step if link.rank == stopped else 2 * ranks)
        try:
            ring.reduce_scatter(counting, chunks, "sum")
            ring.all_gather(counting, chunks)
        except (Standstill, Stuck):
            pass
        ended[link.rank] = counting.ended

    trace(run, ranks, ranks)
    return ended


class Beside(list[str]):
    """What is compared, and both answers, for the picture."""

    told: Any
    true: list[int]


def beside_what_was_seen(
    function: Callable[..., Any], ranks: int, stopped: int, step: int
) -> Beside:
    """For each rank, what is said of it: right, or how far it came instead."""
    told, true = function(ranks, stopped, step), seen(ranks, stopped, step)
    if type(told) is list and len(told) == ranks:
        found = Beside(
            "right" if type(a) is int and a == b else f"rank {rank} ends {b} steps"
            for rank, (a, b) in enumerate(zip(told, true, strict=True))
        )
    else:
        found = Beside([f"no list of {ranks} numbers"])
    found.told, found.true = told, true
    return found


def bars(cases: Sequence[Case]) -> Any:
    """The first wrong case, else the first."""
    case = next((c for c in cases if c.expected != c.got), cases[0])
    ranks, stopped, _ = case.arguments
    return steps_ended(case.got.true, case.got.told, stopped, 2 * (ranks - 1))


def draw_early(r: random.Random) -> tuple[int, int, int]:
    ranks = r.randrange(3, MOST + 1)
    return ranks, r.randrange(ranks), r.randrange(0, ranks - 1)


def draw_any(r: random.Random) -> tuple[int, int, int]:
    """In the second half, so that some ranks end their all-reduce and others never do."""
    ranks = r.randrange(3, MOST + 1)
    return ranks, r.randrange(ranks), r.randrange(ranks, 2 * (ranks - 1))


PROPERTIES = [
    Property(
        "stopped in the reduce-scatter", draw_early, beside_what_was_seen, cases=6, picture=bars
    ),
    Property("stopped anywhere", draw_any, beside_what_was_seen, cases=6, picture=bars),
]
