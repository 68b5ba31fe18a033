"""elastic.1: a step's samples belong to the step; the ranks only share them out."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from labkit.grading.exercise import Property

Drawn = tuple[list[int], int, int, int, int]


def drawn(r: random.Random, at_the_end: bool) -> Drawn:
    """Batches that no number of ranks divides; if wanted the last one, which is short."""
    batch, size = r.randrange(5, 14), r.randrange(2, 7)
    full = r.randrange(2, 5)
    rest = r.randrange(1, batch)
    order = r.sample(range(100, 200), full * batch + rest)
    position = full * batch if at_the_end else r.randrange(full) * batch
    return order, position, batch, r.randrange(size), size


def draw_full(r: random.Random) -> Drawn:
    return drawn(r, at_the_end=False)


def draw_short(r: random.Random) -> Drawn:
    return drawn(r, at_the_end=True)


def of_all(
    function: Callable[..., Any], order: list[int], position: int, batch: int, _: int, size: int
) -> dict[str, Any]:
    """How often each sample of the step is learnt, by all ranks together."""
    taken = [function(list(order), position, batch, place, size) for place in range(size)]
    if not all(isinstance(rows, list) for rows in taken):
        return {"not lists": [type(rows).__name__ for rows in taken]}
    seen = [row for rows in taken for row in rows if type(row) is int]
    step = order[position : position + batch]
    return {
        "times that each sample is learnt": [seen.count(row) for row in step],
        "samples of other steps": sorted(set(seen) - set(step)),
        "by how many the shares differ": str(max(map(len, taken)) - min(map(len, taken)))
        if max(map(len, taken)) - min(map(len, taken)) > 1
        else "at most 1",
    }


PROPERTIES = [
    Property("the rows of the docstring's rule, whatever the number of ranks", draw_full),
    Property("together all ranks have each sample exactly once", draw_full, of_all),
    Property("the last batch of an epoch is shorter", draw_short),
]
