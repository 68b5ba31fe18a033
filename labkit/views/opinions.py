"""Who suspects whom, and when, and whether that is true: a picture of what detectors say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from labkit.events import Event
from labkit.views import style
from labkit.views.charts import dress, panel
from labkit.views.history import History, history
from labkit.views.slices import Times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LANE = 0.5  # inches
RIGHT, WRONG = style.GREY, style.FAULT


def opinions(
    run: Any,
    accuses: str = "suspect",
    title: str = "",
    hanging: Mapping[int, float] | None = None,
) -> Figure:
    """A lane for each rank, with a bar for each of the others for as long as that one suspects it.

    Bars are grey where they are right, since the rank is dead (a cross) or hangs, and vermilion
    where they are a mistake; a pale band is a rank that stands still. `run` is a list of events, or
    has them; `accuses` is the kind of event that counts; `hanging` says of ranks that live and do
    not work since when, as the time of an event.
    """
    events: list[Event] = list(getattr(run, "events", run))
    past = history(events)
    for rank, since in (hanging or {}).items():
        past.pauses[rank].append((since - past.origin, past.end))
        past.lives[rank] = [(a, min(b, since - past.origin)) for a, b in past.lives[rank]]
    end = past.end
    figure = style.figure(10.0, 1.25 + LANE * len(past.ranks))
    axes = panel(figure, (0.85, 0.6, 8.95, LANE * len(past.ranks)))
    dress(axes, title, "seconds", "")
    for lane, peer in enumerate(past.ranks):
        for begin, stop in past.pauses[peer]:
            band = axes.broken_barh([(begin, stop - begin)], (lane - 0.5, 1.0), zorder=0)
            band.set(color=style.PALE, gid=f"paused:{peer}")
        _bars(axes, events, past, accuses, lane, end)
        axes.axhline(lane + 0.5, color=style.PALE, lw=0.8)
    for death in past.deaths:
        cross = axes.plot(death.time, past.ranks.index(death.rank), "x", ms=11, mew=3.5, zorder=5)
        cross[0].set(color=style.INK, gid=f"death:{death.rank}")
    axes.set_yticks(range(len(past.ranks)), [f"rank {rank}" for rank in past.ranks])
    axes.set(xlim=(0, end), ylim=(len(past.ranks) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    _key(figure)
    return figure


def _bars(
    axes: Any, events: Iterable[Event], past: History, accuses: str, lane: int, end: float
) -> None:
    peer = past.ranks[lane]
    others = [rank for rank in past.ranks if rank != peer]
    height = 0.8 / len(others)
    for row, observer in enumerate(others):
        place = (lane - 0.4 + row * height, 0.8 * height)
        for span in suspicions(events, past, observer, peer, accuses, end):
            for begin, stop, right in _judged(span, past.lives[peer]):
                bar = axes.broken_barh([(begin, stop - begin)], place, zorder=3)
                word = "right" if right else "mistake"
                bar.set(color=RIGHT if right else WRONG, lw=0, gid=f"{word}:{observer}:{peer}")


def suspicions(
    events: Iterable[Event], past: History, observer: int, peer: int, accuses: str, end: float
) -> Times:
    """From when to when the one suspected the other, as it said itself while it lived."""
    spans: Times = []
    since: float | None = None
    said = [
        (e.time - past.origin, e.kind == accuses)
        for e in events
        if e.rank == observer and e.kind in (accuses, "trust") and e.data.get("peer") == peer
    ]
    said += [(d.time, False) for d in past.deaths if d.rank == observer]
    for time, suspects in sorted(said):
        if suspects and since is None:
            since = time
        elif not suspects and since is not None:
            spans.append((since, time))
            since = None
    return spans if since is None else [*spans, (since, end)]


def _judged(span: tuple[float, float], lives: Times) -> list[tuple[float, float, bool]]:
    """The parts of a suspicion, each with whether it is right: the rank has no life then. One that
    was right and outlives a restart is no mistake: it was right when it began."""
    moments = sorted({span[0], span[1], *(t for life in lives for t in life if _in(t, span))})
    parts, right = [], False
    for a, b in pairwise(moments):
        right = right or not any(_in((a + b) / 2, life) for life in lives)
        parts.append((a, b, right))
    return parts


def _in(time: float, span: tuple[float, float]) -> bool:
    return span[0] < time < span[1]


def _key(figure: Any) -> None:
    width, height = figure.get_size_inches()
    font = {"size": style.SMALL, "family": style.FONT, "ha": "right", "va": "top"}
    for x, words, colour in ((8.5, "suspected by mistake", WRONG), (9.8, "with reason", RIGHT)):
        figure.text(x / width, 1 - 0.12 / height, "■ " + words, color=style.words(colour), **font)
