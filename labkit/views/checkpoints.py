"""What a checkpoint brings back, what is missing without a piece of it, and what a crash leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from labkit.views import style
from labkit.views.charts import chart, dress, panel
from labkit.views.curves import metric_by_step

REDONE = style.LOOKS["redone"]


def lives(runs: Sequence[Any], title: str = "", metric: str = "loss") -> Any:
    """A training that died and was started again: its metric over all steps that were computed.

    Each run is one life and ended in a death, except the last. Hatched is what had been done
    before; the number at a life's beginning is the step at which it begins.
    """
    figure, axes = chart(title, "steps computed, all lives together", metric, (11.0, 3.6))
    curves = [metric_by_step(getattr(run, "events", run), metric) for run in runs]
    high = max(max(curve.values()) for curve in curves)
    at, furthest = 0, 0
    for life, curve in enumerate(curves):
        steps = list(curve)
        again = sum(step <= furthest for step in steps)
        if again:
            band = axes.axvspan(at + 0.5, at + again + 0.5, facecolor=style.PALE, lw=0)
            band.set(edgecolor=style.GREY, hatch=REDONE.hatch, alpha=0.5, gid=f"redone:{life}")
            _say(axes, at + 1 + again / 2, 0.05 * high, f"{again} steps done again", "center")
        places = range(at + 1, at + len(steps) + 1)
        axes.plot(places, list(curve.values()), color=style.BLUE, lw=2)[0].set_gid(f"life:{life}")
        at, furthest = at + len(steps), max(furthest, steps[-1])
        if life < len(runs) - 1:
            axes.plot(at, curve[steps[-1]], "X", color=style.FAULT, ms=12, mec="white", mew=1.2)
            _say(axes, at, 1.16 * high, f"all dead after step {steps[-1]} ", "right")
            _say(axes, at + 1, 1.16 * high, f" goes on with step {min(curves[life + 1])}", "left")
    axes.set(xlim=(0, at + 1), ylim=(0, 1.28 * high))
    return figure


def _say(axes: Any, x: float, y: float, text: str, side: str) -> None:
    words = axes.text(x, y, text, size=style.TEXT, ha=side, family=style.FONT)
    words.set_bbox({"facecolor": style.PAPER, "lw": 0, "pad": 1.5, "alpha": 0.85})


def left_out(
    unbroken: Sequence[float],
    resumed: Mapping[str, Sequence[float]],
    stopped: int,
    verdicts: Mapping[str, str],
    title: str = "",
) -> Any:
    """The loss of a run that was not stopped, and of runs resumed at step `stopped` without a piece
    each, under its name and a verdict. `unbroken` begins at step 1, the others at stopped + 1; what
    is drawn begins a little before that. Green is a run with the losses of the unbroken one."""
    columns, rows = 4, -(-len(resumed) // 4)
    height = 0.9 + 2.05 * rows
    figure = style.figure(11.0, height)
    heading = figure.text(0.02, 1 - 0.24 / height, title, size=style.TITLE, weight="bold")
    heading.set(family=style.FONT, va="center")
    begin = max(1, stopped - len(unbroken) // 6)
    for place, (name, losses) in enumerate(resumed.items()):
        row, column = divmod(place, columns)
        box = (0.72 + 2.64 * column, height - 1.0 - 2.05 * row - 1.3, 2.12, 1.3)
        axes = panel(figure, box)
        dress(axes, "", "step" if row == rows - 1 else "", "loss" if column == 0 else "")
        steps = range(1, len(unbroken) + 1)
        axes.plot(steps, unbroken, color="#9A9A9A", lw=3, gid=f"unbroken:{name}")
        later = range(stopped + 1, stopped + len(losses) + 1)
        same = list(losses) == list(unbroken[stopped : stopped + len(losses)])
        colour = style.GREEN if same else style.VERMILION
        axes.plot(later, losses, color=colour, lw=1.4, gid=f"resumed:{name}")
        axes.axvline(stopped + 0.5, color=style.INK, lw=0.8, ls=":")
        top = 1.08 * max(*unbroken[begin:], *losses)
        axes.set(xlim=(begin, len(unbroken)), ylim=(0, top))
        axes.locator_params(nbins=3)
        words = {"transform": axes.transAxes, "family": style.FONT, "va": "bottom"}
        axes.text(0, 1.15, f"without {name}", size=style.TEXT, weight="bold", **words)
        axes.text(0, 1.02, verdicts[name], size=style.SMALL, color=style.GREY, **words)
    return figure


# ---- crashes -----------------------------------------------------------------------------------

OUTCOMES = {"old": "#D9D9D9", "new": style.GREEN, "torn": style.VERMILION}
"""What is found afterwards: the file as it was, as it should become, or neither."""

Row = Mapping[str, Mapping[str, int]]
"""By the place of the crash: how often each outcome was found there."""


def crashes(grids: Mapping[str, Mapping[str, Row]], places: Sequence[str], title: str = "") -> Any:
    """Where it crashed against what was found: a grid for each kind of crash, a row for each way of
    writing, a column for each place. A cell with several outcomes is cut in their proportions, and
    names the worst one."""
    rows = max(len(grid) for grid in grids.values())
    left, cell = 2.35, 0.42
    height = 0.4 + len(grids) * (0.85 + cell * rows)
    figure = style.figure(11.0, height)
    heading = figure.text(0.02, 1 - 0.24 / height, title, size=style.TITLE, weight="bold")
    heading.set(family=style.FONT, va="center")
    for number, (kind, grid) in enumerate(grids.items()):
        bottom = height - 0.36 - (number + 1) * (0.85 + cell * rows) + 0.12
        axes = panel(figure, (left, bottom, 11.0 - left - 0.15, cell * rows))
        axes.set(xlim=(0, len(places)), ylim=(rows, 0))
        axes.axis("off")
        words = axes.text(-1.0, 0, kind, size=style.LABEL, weight="bold", family=style.FONT)
        words.set(transform=figure.dpi_scale_trans, position=(0.22, bottom + cell * rows + 0.34))
        for column, place in enumerate(places):
            axes.text(column + 0.5, -0.12, place, ha="center", va="bottom", size=style.SMALL)
        for row, (writer, found) in enumerate(grid.items()):
            axes.text(-0.1, row + 0.5, writer, ha="right", va="center", size=style.TEXT)
            for column, place in enumerate(places):
                if place in found:
                    _cell(axes, column, row, found[place])
    return figure


def _cell(axes: Any, column: int, row: int, found: Mapping[str, int]) -> None:
    """At (column, row) one unit wide: the shares of the outcomes, from the left."""
    total, x = sum(found.values()), column + 0.03
    for outcome, colour in OUTCOMES.items():
        share = 0.94 * found.get(outcome, 0) / total
        box = Rectangle((x, row + 0.06), share, 0.88, facecolor=colour, lw=0)
        box.set_gid(f"{outcome}:{column}:{row}")
        if share:
            axes.add_patch(box)
        x += share
    worst = [outcome for outcome in OUTCOMES if found.get(outcome)][-1]
    share = found[worst] / total
    text = worst if share == 1 else f"{worst} {100 * share:.0f} %"
    if share < 1 and worst != "torn":  # old or new, and both are whole
        text = "old or new"
    if share < 0.005:
        text = f"{worst}, seldom"
    words = axes.text(column + 0.5, row + 0.52, text, ha="center", va="center", size=style.SMALL)
    words.set(family=style.FONT, weight="bold" if worst == "torn" else "normal")
    if len([1 for outcome in OUTCOMES if found.get(outcome)]) > 1:  # it stands on several colours
        words.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
