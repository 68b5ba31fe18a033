"""ring.2: the second half of a ring all-reduce, with dyed chunks over a link through the grader."""

from __future__ import annotations

import itertools

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
    observed,
    steps_beside,
)


def complete(function: Function, drawn: Ranks) -> Outcome:
    """Whose parts are in each chunk at each rank."""
    every = range(drawn.ranks)
    places = list(itertools.product(every, every))
    return held_by(observed(function, drawn, gathered=True), places)


def messages(function: Function, drawn: Ranks) -> Outcome:
    return counted(complete(function, drawn))


PROPERTIES = [
    Property(
        "every rank ends with every chunk",
        draw_even,
        complete,
        cases=3,
        ranks=MOST,
        picture=steps_beside,
    ),
    Property(
        "n − 1 messages of one chunk each, all to the right",
        draw_uneven,
        messages,
        cases=3,
        ranks=MOST,
        picture=steps_beside,
    ),
]
