"""ring.1: the first half of a ring all-reduce. Two of the properties run over a link through the
grader, with dyed chunks; the third runs over Gloo."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from labkit.grading.exercise import Property
from labkit.grading.exercises.dyed import (
    MOST,
    Function,
    Outcome,
    Ranks,
    counted,
    draw_even,
    draw_uneven,
    held_by,
    no_picture,
    observed,
    steps_beside,
)
from labkit.grading.ports import on_ranks


def sums(function: Function, drawn: Ranks) -> Outcome:
    """Whose parts are in chunk r at rank r."""
    return held_by(observed(function, drawn), [(rank, rank) for rank in range(drawn.ranks)])


def messages(function: Function, drawn: Ranks) -> Outcome:
    return counted(sums(function, drawn))


def over_sockets(function: Function, drawn: Ranks) -> list[list[float]]:
    """Chunk r at rank r, of tensors of whole numbers."""
    numbers = random.Random(drawn.dye)

    def chunks() -> list[Tensor]:
        values = [float(numbers.randrange(1000)) for _ in range(drawn.elements)]
        return [part.clone() for part in torch.tensor(values).tensor_split(drawn.ranks)]

    everyone = [chunks() for _ in range(drawn.ranks)]
    on_ranks(function, [(mine,) for mine in everyone])
    return [mine[rank].tolist() for rank, mine in enumerate(everyone)]


PROPERTIES = [
    Property(
        "rank r ends with the sum of chunk r",
        draw_even,
        sums,
        cases=4,
        ranks=MOST,
        picture=steps_beside,
    ),
    Property(
        "n − 1 messages of one chunk each, all to the right",
        draw_even,
        messages,
        cases=4,
        ranks=MOST,
        picture=steps_beside,
    ),
    Property(
        "chunks of unequal length, over real sockets",
        draw_uneven,
        over_sockets,
        cases=2,
        ranks=4,
        network=True,
        picture=no_picture,
    ),
]
