"""What a checkpoint costs: how long training stands still, and how often it is worth it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit.reliability import young_daly
from labkit.views import style
from labkit.views.charts import chart, seconds_text
from labkit.views.labels import width_of

STALLED, BEHIND = style.VERMILION, "#A6DBCB"
"""Training stands still; the rest of the write goes on beside it."""


def stalls(ways: Mapping[str, tuple[float, float]], title: str = "") -> Any:
    """A bar for each way of saving: `(stall, durable)` in seconds, both from its beginning; grey
    where nothing trains beside it."""
    left = 0.35 + max(width_of(name, style.LABEL) for name in ways)
    size = 10.0, 1.3 + 0.5 * len(ways)
    figure, axes = chart("", "milliseconds until it is durable", "", size, 1.75, left)
    for place, (name, (stall, durable)) in enumerate(ways.items()):
        behind = BEHIND if stall else style.PALE
        axes.barh(place, 1e3 * durable, 0.62, color=behind)[0].set_gid(f"durable:{name}")
        axes.barh(place, 1e3 * stall, 0.62, color=STALLED)[0].set_gid(f"stall:{name}")
        text = f"stands still {seconds_text(stall)}" if stall else seconds_text(durable)
        axes.annotate(text, (1e3 * max(stall, durable), place), (6, 0), va="center",
                      textcoords="offset points", annotation_clip=False, size=style.TEXT).set(
            family=style.FONT
        )  # fmt: skip
    axes.set_yticks(range(len(ways)), list(ways), size=style.LABEL, family=style.FONT)
    axes.set(ylim=(len(ways) - 0.4, -0.6), xlim=(0, None))
    figure.text(0.02, 1 - 0.26 / size[1], title, size=style.TITLE, weight="bold", va="center")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure


def intervals(
    measured: Sequence[tuple[float, float]],
    write: float,
    mtbf: float,
    title: str = "",
) -> Any:
    """Goodput by interval: Daly's curve for these costs (seconds), restarts left out, and points
    (interval, goodput) that were measured."""
    low, high = min(x for x, _ in measured) / 2, max(x for x, _ in measured) * 2
    figure, axes = chart(title, "seconds of work between two checkpoints", "goodput, %", (9.0, 4.0))
    x = np.geomspace(low, high, 200)
    curve = 100 * np.asarray(young_daly.goodput(x, write, mtbf, 0.0))
    axes.plot(x, curve, color=style.ORANGE, lw=2, gid="daly")
    axes.plot(*zip(*((t, 100 * good) for t, good in measured), strict=True), "o", ms=9,
              color=style.BLUE, gid="measured")  # fmt: skip
    best = float(young_daly.young_interval(write, mtbf))
    axes.axvline(best, color=style.INK, lw=1, ls=":", gid="young")
    words = {"size": style.TEXT, "family": style.FONT}
    axes.text(best, 0.03, f"  √(2CM) = {seconds_text(best)}", va="bottom",
              transform=axes.get_xaxis_transform(), **words)  # fmt: skip
    colours = style.words(style.ORANGE), style.words(style.BLUE)
    axes.text(0.02, 0.95, "curve: Daly 2006", transform=axes.transAxes, color=colours[0], **words)
    axes.text(
        0.02, 0.87, "dots: measured here", transform=axes.transAxes, color=colours[1], **words
    )
    costs = f"a write takes {seconds_text(write)}, a failure comes every {seconds_text(mtbf)}"
    words |= {"color": style.GREY, "ha": "right", "backgroundcolor": style.PAPER}
    axes.text(0.99, 0.95, costs, transform=axes.transAxes, **words)
    axes.set(xscale="log", xlim=(low, high), ylim=(0, 105))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    return figure
