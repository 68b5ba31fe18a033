"""`timeline(events)`: a run in one picture, and `timeline(events, around=fault)`: its anatomy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from labkit.events import Event
from labkit.faults import Fault
from labkit.views.history import history

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def timeline(
    events: Iterable[Event],
    around: Event | Fault | float | None = None,
    title: str | None = None,
    width: float = 11.0,
    counts: Callable[[Event], bool] | None = None,
) -> Figure:
    """A lane per rank, colour = what the rank is doing, against seconds since the first event.

    Arrows are messages, crosses deaths, shaded bands injected faults, bars views and checkpoints;
    hatched is work done again, a dashed outline a paused rank. Below stand the steps that count
    beside what they would have been without faults. `counts` says which `step` events count (all
    of them, unless told). `width` is in inches. What is too much to draw is told in the picture.

    `around` an event, an injected fault or a time (seconds since the first event) draws the same at
    the scale of that event: the phases of a recovery, with their milliseconds. Raises ValueError
    for a fault or event that is not among the events.
    """
    past = history(events, counts)
    if around is None:
        from labkit.views.overview import draw_overview

        return draw_overview(past, title, width)
    from labkit.views.anatomy import draw_anatomy

    return draw_anatomy(past, around, title, width)
