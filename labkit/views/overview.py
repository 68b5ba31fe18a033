"""A whole run on one page: faults above the lanes, views below, and the steps that count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.views import furniture, marks, style
from labkit.views.counted import Counted, counted
from labkit.views.history import History, Mark
from labkit.views.labels import height_of, width_of
from labkit.views.lanes import draw_lanes
from labkit.views.recovery import recovery
from labkit.views.sheet import MARGIN, Sheet, new_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVE = 1.15
"""Inches of height of the curve of steps."""
GOODPUT = 0.85
"""Inches to the right of it, for the goodput."""


def draw_overview(past: History, title: str | None, width: float) -> Figure:
    sheet = new_sheet(past, (0.0, max(past.end, 1e-3)), width, right_margin=GOODPUT)
    recoveries = [recovery(past, f) for f in past.faults]
    progress = counted(past, furniture.troubles(past))
    # Where everything goes, from top to bottom, before anything is drawn.
    shown = furniture.shown_looks(sheet)
    legend = furniture.legend(sheet, shown, sheet.title_bottom(title))
    faults = furniture.fault_rows(sheet, recoveries, legend.bottom)
    checkpoints = checkpoint_row(sheet, faults.bottom)
    sheet.top, sheet.first = legend.bottom, checkpoints.bottom + 0.04 + sheet.pitch / 2
    notes = furniture.occasions(past)
    moments = furniture.view_moments(past) + furniture.note_moments(notes[: furniture.NOTES])
    below = furniture.moment_rows(sheet, moments, sheet.floor)
    sheet.bottom = below.bottom + 0.05
    top, bottom = sheet.bottom + 0.1, sheet.bottom + 0.1 + (CURVE if progress else 0.02)

    sheet.open(bottom + 0.62, title)
    merged = draw_lanes(sheet, shown)
    legend.draw(sheet)
    furniture.name_lanes(sheet)
    faults.draw(sheet)
    checkpoints.draw(sheet)
    below.draw(sheet)
    crowded = marks.draw_messages(sheet, crowd=4)
    marks.draw_deaths(sheet)
    unnamed = marks.name_deaths(sheet)
    draw_curve(sheet, progress, top, bottom)
    furniture.footnote(
        sheet,
        bottom + 0.54,
        {
            furniture.MERGED: merged,
            "messages not drawn": crowded,
            "notes not drawn": max(0, len(notes) - furniture.NOTES),
            "labels left out": faults.missing + below.missing + unnamed,
        },
    )
    return sheet.figure


@dataclass
class CheckpointRow:
    """A diamond above the lanes for each checkpoint, with its step where there is room for all."""

    found: list[Mark]
    texts: list[str]
    top: float

    @property
    def bottom(self) -> float:
        return self.top + (height_of() if self.found else 0.0)

    def draw(self, sheet: Sheet) -> None:
        y = self.top + height_of() / 2
        green = {"size": style.SMALL, "color": style.CHECKPOINT}
        for mark in self.found:
            marks.draw_checkpoint(sheet, mark.time, y, mark.data.get("step"))
        for mark, text in zip(self.found, self.texts, strict=False):
            sheet.write(sheet.x(mark.time) + DIAMOND, y, text, **green)
        if self.found and not any("checkpoint" in text for text in self.texts):
            x = sheet.x(self.found[0].time) - DIAMOND
            if x - width_of("checkpoints", style.SMALL) > MARGIN:
                sheet.write(x, y, "checkpoints", ha="right", **green)


DIAMOND = 0.1
"""Inches from the middle of a checkpoint's diamond to its words."""


def checkpoint_row(sheet: Sheet, top: float) -> CheckpointRow:
    """All in words, else the first in words, else numbers, else one word for them all."""
    found = marks.durable(sheet.past)
    xs = [sheet.x(c.time) for c in found]
    for many in (len(found), 1, 0):
        texts = [
            f"{'checkpoint ' * (i < many)}step {c.data.get('step')}" for i, c in enumerate(found)
        ]
        ends = [x + DIAMOND + width_of(t, style.SMALL) for x, t in zip(xs, texts, strict=True)]
        limits = [x - DIAMOND for x in xs[1:]] + [sheet.width - MARGIN]
        if all(end < limit for end, limit in zip(ends, limits, strict=False)):
            return CheckpointRow(found, texts, top)
    return CheckpointRow(found, [], top)


def draw_curve(sheet: Sheet, progress: Counted | None, top: float, bottom: float) -> None:
    """The steps that count against time, beside the line without faults."""
    from matplotlib.ticker import MaxNLocator

    axes = sheet.axes(top, bottom)
    style.plain_axes(axes)
    axes.set_xlabel("seconds since start", size=style.LABEL, family=style.FONT)
    if progress is None:
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        return
    made = len(progress.times)
    ends = [progress.begin, progress.end]
    ideal = axes.plot(ends, [0, progress.without_faults], "--", color="#8A8A8A", lw=1.4)[0]
    ideal.set(gid="without faults", label="without faults", zorder=2)
    line = axes.plot(
        [progress.begin, *progress.times, progress.end], [*range(made + 1), made],
        color=style.VIEW, lw=2.2, drawstyle="steps-post",
    )[0]  # fmt: skip
    line.set(gid="steps", label="steps that count", zorder=3)
    highest = 1.06 * max(progress.without_faults, made)
    axes.set(ylim=(0, highest))
    axes.set_ylabel("steps", size=style.LABEL, family=style.FONT)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    font = {"family": style.FONT, "size": style.TEXT}
    handles = [line, ideal]
    axes.legend(handles=handles, loc="upper left", frameon=False, prop=font, borderaxespad=0.1)
    y = min(bottom - 0.12, max(top + 0.08, bottom - (bottom - top) * made / highest))
    blue = {"color": style.VIEW}
    sheet.write(sheet.right + 0.06, y - 0.09, "goodput", **blue)
    percent = f"{100 * progress.goodput:.0f} %"
    sheet.write(sheet.right + 0.06, y + 0.1, percent, weight="bold", gid="goodput", **blue)
