"""A picture of rows on a log axis: a bar from least to most, a dot at the median."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.views import style

if TYPE_CHECKING:
    from labkit.bench.report import Row
    from labkit.views.canvas import LabFigure

OURS, PEER = style.BLUE, style.ORANGE
ROW_HEIGHT, HEAD_HEIGHT = 0.42, 1.15  # inches


@dataclass(frozen=True)
class Panel:
    """Rows that answer one question; `target`, in their unit, is what the lab's own aim at."""

    title: str
    rows: Sequence[Row]
    target: float | None = None


def durations(panels: Sequence[Panel], footnote: str = "") -> LabFigure:
    """One panel under the other on one time axis, fastest first, the lab's in blue."""
    heights = [HEAD_HEIGHT + ROW_HEIGHT * len(panel.rows) for panel in panels]
    figure = style.figure(10.0, sum(heights))
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, panel in zip(all_axes[:, 0], panels, strict=True):
        _panel(axes, panel)
    values = [v for panel in panels for row in panel.rows for v in (row.min, row.max)]
    least, most = min(values), max(values)
    # Room on the right for the longest text, about a third of the axis.
    all_axes[0, 0].set_xlim(least / 1.3, most * max((most / least) ** 0.45, 4.0))
    figure.text(0.01, 0.0, footnote, fontsize=style.SMALL, color=style.GREY, va="top")
    figure.tight_layout()
    return figure


def _panel(axes: Any, panel: Panel) -> None:
    rows = sorted(panel.rows, key=lambda row: row.median)
    axes.set_xscale("log")
    axes.set_title(panel.title, fontsize=style.TITLE, loc="left", weight="bold")
    for place, row in enumerate(rows):
        _row(axes, place, row)
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=style.LABEL)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(OURS if row.side == "ours" else style.INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    unit = rows[0].unit
    if panel.target is not None:
        axes.axvline(panel.target, color=style.GREEN, lw=1.2, ls="--", zorder=0)
        aim = f" the lab's aim: {amount(panel.target, unit)}"
        axes.text(panel.target, len(rows) - 0.45, aim, fontsize=style.SMALL, color=style.GREEN)
    axes.xaxis.set_major_formatter(lambda value, _: amount(value, unit))
    axes.xaxis.set_minor_formatter("")
    axes.tick_params(axis="x", labelsize=style.TEXT, labelbottom=True)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=style.PALE, zorder=-1)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _row(axes: Any, place: int, row: Row) -> None:
    colour = OURS if row.side == "ours" else PEER
    words = {"va": "center", "fontsize": style.TEXT, "zorder": 4}
    paper = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 1.0}
    if row.at_least:  # a lower bound: it goes on to the right
        axes.plot([row.median], [place], ">", color=colour, ms=9, zorder=3)
        axes.text(row.median * 1.25, place, row.note, bbox=paper, **words)
        return
    ends, line = [row.min, row.max], {"lw": 7, "solid_capstyle": "round", "alpha": 0.4}
    axes.plot(ends, [place, place], color=colour, **line)
    axes.plot([row.median], [place], "o", color=colour, ms=8, mec="white", mew=1, zorder=3)
    text = amount(row.median, row.unit)
    if row.n > 1:
        low, high = amount(row.min, row.unit), amount(row.max, row.unit)
        text += f"  ({low} to {high}, n = {row.n})"
    axes.text(row.max * 1.25, place, text, bbox=paper, **words)


def amount(value: float, unit: str) -> str:
    """Two digits: 0.0312 s is "31 ms", 2.74 s is "2.7 s"; other units stay as they are."""
    if unit == "s" and value < 0.9995:
        value, unit = value * 1e3, "ms"
    digits = f"{value:.2g}" if value < 9.95 else f"{value:.0f}"
    return f"{digits} {unit}"
