"""A history of calls as a picture: a bar for each call in its client's row, from the moment when it
was made to the moment when it returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.patches import Rectangle

from labkit.views import style

WRITE, READ = style.YELLOW, style.PALE
GAP = 0.03
"""Between two points of an order, as a share of the picture's width."""


def operations(
    calls: Sequence[Any],
    title: str = "",
    verdict: Any = None,
    names: Mapping[int, str] | None = None,
    faults: Sequence[tuple[float, float, str]] = (),
) -> Any:
    """Of a linearizable history, the `verdict`'s order is drawn: the points at which the calls may
    have taken effect. Of another, the call that has no place in any order is marked.

    `names` are those of the clients; `faults` are bands from a time to another, with their names.
    """
    clients = sorted({call.client for call in calls})
    ends = [call.returned for call in calls if call.returned is not None]
    begin = min(call.invoked for call in calls)
    end = max([*ends, *(call.invoked for call in calls)])
    span = max(end - begin, 1e-9)
    top = 0.65 if faults else 0.4  # the faults' names stand between the title and the bars
    height = 0.75 + top + 0.55 * len(clients)
    figure = style.figure(10.0, height)
    axes = figure.add_axes((0.1, 0.45 / height, 0.88, 1 - (0.45 + top) / height))
    axes.set(xlim=(begin - 0.03 * span, end + 0.12 * span), ylim=(len(clients) - 0.4, -0.6))
    _bands(axes, faults, len(clients))
    rows = {client: row for row, client in enumerate(clients)}
    wrong = getattr(verdict, "stuck", None)
    edge = end + 0.11 * span
    for call in calls:
        later = [c.invoked for c in calls if c.client == call.client and c.invoked > call.invoked]
        until = min(later, default=edge)  # the client's next call
        _bar(axes, call, rows[call.client], (until, edge), call is wrong, span)
    if verdict:
        shown = {id(call) for call in calls}
        _points(axes, [c for c in verdict.order if id(c) in shown], rows, GAP * span)
    for client, row in rows.items():
        name = (names or {}).get(client, f"client {client}")
        axes.text(
            -0.01,
            row,
            name,
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=style.TEXT,
        )
    axes.set_yticks([])
    axes.set_xlabel("seconds", fontsize=style.LABEL)
    style.plain_axes(axes)
    axes.spines["left"].set_visible(False)
    words = figure.text(0.5, 1 - 0.2 / height, title, ha="center", va="center")
    words.set(fontsize=style.TITLE, weight="bold")
    return figure


def points(order: Sequence[Any], gap: float = 0.0) -> list[float]:
    """The earliest moments at which calls that take effect in this order may have done so; `gap`
    apart where there is room."""
    times: list[float] = []
    for place, call in enumerate(order):
        returns = [later.returned for later in order[place:] if later.returned is not None]
        earliest = max(call.invoked, times[-1] if times else call.invoked)
        times.append(min([earliest + gap, *(max(earliest, end) for end in returns)]))
    return times


def said(call: Any) -> str:
    """`x = 1` for a write, `x → 1` for a read, `x → ∅` for a read of nothing."""
    command = call.command
    if hasattr(command, "value"):
        return f"{command.key} = {command.value}"
    if call.returned is None:
        return f"{command.key} → ?"
    return f"{command.key} → {'∅' if call.result is None else call.result}"


def _bands(axes: Any, faults: Sequence[tuple[float, float, str]], rows: int) -> None:
    for left, right, name in faults:
        band = axes.axvspan(left, right, lw=0, zorder=0)
        band.set(color=style.FAULT, alpha=0.13, gid=f"fault:{name}")
        seen = max(left, axes.get_xlim()[0])
        axes.text(seen, -0.62, f" {name}", va="bottom", fontsize=style.SMALL).set(
            color=style.words(style.FAULT)
        )


def _bar(
    axes: Any, call: Any, row: int, ends: tuple[float, float], wrong: bool, span: float
) -> None:
    """A call without an answer is hatched: a read until its client goes on, a write for ever, as a
    thin bar, since it may still take effect."""
    until, edge = ends
    write = hasattr(call.command, "value")
    known = call.returned is not None
    right = call.returned if known else edge if write else until
    height = 0.6 if known or not write else 0.2
    bar = Rectangle((call.invoked, row + 0.3 - height), right - call.invoked, height, zorder=2)
    bar.set(facecolor=WRITE if write else READ, edgecolor=style.FAULT if wrong else style.GREY)
    bar.set(linewidth=3 if wrong else 0.8, hatch="" if known else "////")
    bar.set(gid="stuck" if wrong else "call")
    axes.add_patch(bar)
    text = said(call) if known else f"{said(call)} no answer".replace("→ ? ", "→ ")
    needs = 0.0105 * len(text) * span
    x, y, side = (call.invoked + right) / 2, row + 0.3 - height / 2, "center"
    if right - call.invoked < needs:  # beside it, or below where the next call begins too soon
        beside = until - right > needs
        x, side = (right if beside else call.invoked) + 0.005 * span, "left"
        y = row if beside else row + 0.43
    words = axes.text(x, y, text, ha=side, va="center", fontsize=style.SMALL, zorder=4)
    words.set(weight="bold" if wrong else "normal")
    if not known:
        words.set_bbox({"facecolor": style.PAPER, "pad": 0.8, "lw": 0})


def _points(axes: Any, order: Sequence[Any], rows: Mapping[int, int], gap: float) -> None:
    """One line for each key, since the keys' orders say nothing of each other."""
    for key in sorted({call.command.key for call in order}):
        mine = [call for call in order if call.command.key == key]
        times = points(mine, gap)
        heights = [rows[call.client] - 0.3 for call in mine]
        axes.plot(times, heights, color=style.GREEN, lw=1.2, alpha=0.8, zorder=3)
        axes.plot(times, heights, "o", color=style.GREEN, ms=7, zorder=5, gid="effect")
