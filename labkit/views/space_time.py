"""A space-time diagram: a line per rank, a dot per event, an arrow per message (Lamport 1978).

From left to right stands an *order* of the events, and nothing else: no seconds. So the picture
shows what an order makes of the messages: one that arrives before it was sent points to the left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labkit.views import style

Entry = tuple[int, str, Any]
"""One event: the rank, the kind ("send", "receive", or anything that is neither), the message."""

LANE, ABOVE, BELOW, LEFT = 0.56, 0.72, 0.12, 0.85  # inches


def space_time(
    log: Sequence[Entry],
    places: Sequence[int] | None = None,
    colours: Mapping[int, str] | None = None,
    notes: Mapping[int, str] | None = None,
    title: str | None = None,
    lost: Mapping[int, int] | None = None,
) -> Any:
    """`places` are whole numbers, one per event, such as those of a logical clock: they say where
    the dots are, and stand above them. Without them an event is where it is in the list. `colours`
    and `notes` (below the dots) are by place in the list, and so is `lost`: to whom a message was
    on its way that did not arrive.

    Messages that run backwards are dashed and vermilion, and the title counts them, unless another
    is given.
    """
    ranks = sorted({rank for rank, _, _ in log})
    at = [float(x) for x in places or range(len(log))]
    width, height = 11.0, ABOVE + LANE * len(ranks) + BELOW
    figure = style.figure(width, height)
    axes = figure.add_axes(
        (LEFT / width, BELOW / height, 1 - (LEFT + 0.1) / width, LANE * len(ranks) / height)
    )
    axes.set(xlim=(min(at) - 0.7, max(at) + 0.7), ylim=(len(ranks) - 0.5, -0.5))
    axes.axis("off")
    for line, rank in enumerate(ranks):
        axes.axhline(line, color="#B5B5B5", lw=1.2, zorder=1)
        _write(axes, min(at) - 0.8, line, f"rank {rank}", size=style.LABEL, ha="right")
    lines = [ranks.index(rank) for rank, _, _ in log]
    for sent, received in messages(log):
        _arrow(axes, (at[sent], lines[sent]), (at[received], lines[received]))
    for i, rank in (lost or {}).items():
        _stub(axes, (at[i], lines[i]), ranks.index(rank))
    for i, (x, line) in enumerate(zip(at, lines, strict=True)):
        colour = (colours or {}).get(i, style.INK)
        axes.scatter(x, line, s=62, color=colour, edgecolor=style.PAPER, lw=1, zorder=4)
        if places is not None:
            _write(axes, x, line - 0.33, str(places[i]))
        if notes and i in notes:
            _write(axes, x, line + 0.35, notes[i], weight="bold")
    figure.suptitle(
        title or backwards(log, at), size=style.TITLE, family=style.FONT, weight="bold",
        y=1 - 0.2 / height,
    )  # fmt: skip
    return figure


def messages(log: Sequence[Entry]) -> list[tuple[int, int]]:
    """The places in the list of both ends of every message that has both."""
    sends = {message: i for i, (_, kind, message) in enumerate(log) if kind == "send"}
    arrivals = [(i, message) for i, (_, kind, message) in enumerate(log) if kind == "receive"]
    return [(sends[message], i) for i, message in arrivals if message in sends]


def backwards(log: Sequence[Entry], at: Sequence[float]) -> str:
    pairs = messages(log)
    count = sum(at[received] <= at[sent] for sent, received in pairs)
    return f"{count} of {len(pairs)} messages arrive before they are sent"


def _arrow(axes: Any, start: tuple[float, int], end: tuple[float, int]) -> None:
    """Bent a little when it passes a lane, so that it misses the dots of that lane."""
    forward = start[0] < end[0]
    bend = 0.0 if abs(start[1] - end[1]) == 1 else 0.06
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": "-|>,head_length=0.45,head_width=0.2",
            "color": style.MESSAGE if forward else style.FAULT,
            "linestyle": "-" if forward else (0, (4, 2)),
            "linewidth": 1.1 if forward else 1.5,
            "shrinkA": 4,
            "shrinkB": 4,
            "connectionstyle": f"arc3,rad={bend}",
        },
        zorder=3,
    )


def _stub(axes: Any, start: tuple[float, int], towards: int) -> None:
    """Of a message that is lost: it ends half-way to the lane."""
    x, line = start[0] + 0.7, start[1] + 0.6 * (1 if towards > start[1] else -1)
    axes.plot((start[0], x), (start[1], line), color=style.FAULT, lw=1.5, ls=(0, (4, 2)), zorder=3)
    axes.scatter(x, line, s=46, marker="x", color=style.FAULT, lw=2, zorder=4)


def _write(axes: Any, x: float, y: float, text: str, **how: Any) -> None:
    from matplotlib.patheffects import withStroke

    how = {"size": style.SMALL, "family": style.FONT, "ha": "center", "va": "center"} | how
    axes.text(x, y, text, zorder=5, path_effects=[withStroke(linewidth=3, foreground="w")], **how)
