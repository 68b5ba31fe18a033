"""A diagnosis is a pair, who and what; each half earns points of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Named(str):
    """The half that is compared, and the whole answer, for the picture."""

    answer: Any


def named(function: Callable[..., Any], *incident: Any, place: int, pair: str) -> Named:
    """What `function` says of an incident, at `place` of its answer, which has to be `pair`."""
    answer = function(*incident)
    both = type(answer) in (tuple, list) and len(answer) == 2
    found = Named(repr(answer[place]) if both else f"no pair of {pair}")
    found.answer = answer if both else None
    return found
