"""cluster.1: a token goes round the ring.

The ranks talk through a switch that keeps count and knows when all of them wait for each other. A
rank that has sent what it never heard is found out: what each of them hears and sends is compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from labkit.grading.exercise import Property
from labkit.grading.ports import on_workers
from labkit.views.token import HOME, token_picture

MOST = 5
"""Ranks."""


class Ranks(int):
    """A world size, to be read where the call has its worker: `pass_token(worker=<any of 3>)`."""

    def __repr__(self) -> str:
        return f"<any of {int(self)}>"


def draw_ring(r: random.Random) -> tuple[Ranks, int]:
    return Ranks(r.randint(2, MOST)), r.randint(2, 3)


def comes_home(function: Callable[..., Any], ranks: int, laps: int) -> dict[str, Any]:
    """What rank 0 returns, and who talked to whom on the way."""
    values, boxes = on_workers(function, int(ranks), laps)
    found = {HOME: values[0]}
    for box in boxes:
        told = ", ".join(f"{count} to rank {to}" for to, count in enumerate(box.sent) if count)
        found[f"rank {box.rank}"] = f"hears {box.heard} messages and sends {told or 'none'}"
    return found


def last_held(function: Callable[..., Any], ranks: int, laps: int) -> dict[str, Any]:
    values, _ = on_workers(function, int(ranks), laps)
    return {f"rank {rank} returns": value for rank, value in enumerate(values)}


PROPERTIES = [
    Property(
        "the token comes home to rank 0, from hand to hand",
        draw_ring,
        comes_home,
        cases=2,
        ranks=MOST,
        picture=token_picture,
    ),
    Property(
        "each rank returns the token as it last held it",
        draw_ring,
        last_held,
        cases=2,
        ranks=MOST,
        picture=token_picture,
    ),
]
