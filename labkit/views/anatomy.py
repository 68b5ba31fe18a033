"""A run at the scale of one event: the anatomy of a recovery, phase by phase.

Time is counted from the fault. Above the lanes stand the phases with their milliseconds, between
the lanes the names of the messages, below them the views and the step with which work went on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.events import Event
from labkit.faults import Fault
from labkit.views import furniture, marks, style
from labkit.views.furniture import Moment, duration
from labkit.views.history import History
from labkit.views.injected import Injected
from labkit.views.labels import height_of, width_of
from labkit.views.lanes import draw_lanes
from labkit.views.recovery import Phase, Recovery, recovery
from labkit.views.sheet import MARGIN, Sheet, new_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHASES = {
    "notice": style.VERMILION,
    "start": style.VERMILION,
    "ready": style.words(style.GREY),
    "agree": style.BLUE,
    "form": "#8E4A73",
    "restore": style.words(style.PURPLE),
    "redo": style.words(style.ORANGE),
    "step": style.words(style.ORANGE),
}


@dataclass(frozen=True)
class Window:
    """What to show, and the moment (with its name) from which time is counted."""

    begin: float
    end: float
    zero: float
    since: str
    fault: Injected | None = None
    after: Recovery | None = None


def draw_anatomy(
    past: History, around: Event | Fault | float, title: str | None, width: float
) -> Figure:
    window = find_window(past, around)
    sheet = new_sheet(past, (window.begin, window.end), width)
    # Where everything goes, from top to bottom, before anything is drawn.
    shown = furniture.shown_looks(sheet)
    heading = title or _title(window)
    legend = furniture.legend(sheet, shown, sheet.title_bottom(heading))
    phases = window.after.phases if window.after else []
    above = PhaseRows.of(sheet, phases, legend.bottom + 0.04)
    faults = furniture.fault_rows(sheet, [recovery(past, f) for f in past.faults], above.bottom)
    sheet.top, sheet.first = legend.bottom, faults.bottom + 0.06 + sheet.pitch / 2
    below = furniture.moment_rows(sheet, _moments(past, window), sheet.floor)
    sheet.bottom = below.bottom + 0.06

    sheet.open(sheet.bottom + 0.75, heading)
    merged = draw_lanes(sheet, shown)
    legend.draw(sheet)
    furniture.name_lanes(sheet)
    above.draw(sheet)
    faults.draw(sheet)
    below.draw(sheet)
    crowded = marks.draw_messages(sheet)
    marks.draw_deaths(sheet)
    unnamed = marks.name_deaths(sheet)
    marks.draw_installs(sheet)
    marks.draw_losses(sheet)
    marks.name_messages(sheet)
    draw_axis(sheet, window)
    furniture.footnote(
        sheet,
        sheet.bottom + 0.62,
        {
            furniture.MERGED: merged,
            "messages not drawn": crowded,
            "labels left out": faults.missing + below.missing + unnamed,
        },
    )
    return sheet.figure


# ---- what to show ------------------------------------------------------------------------------


def find_window(past: History, around: Event | Fault | float) -> Window:
    """Raises ValueError if the run knows nothing of `around`."""
    if isinstance(around, Event):
        time = around.time - past.origin
        fault = next(
            (f for f in past.faults if f.event.time == time and around.kind == "fault"), None
        )
        return _of_fault(past, fault) if fault else _of_time(past, time, _said(around))
    if isinstance(around, (int, float)):
        return _of_time(past, float(around), "start", zero=0.0)
    name = str(around)
    fault = next((f for f in past.faults if f.name == name), None)
    if fault is None:
        known = ", ".join(f.name for f in past.faults) or "none"
        raise ValueError(f"{name} was not injected in this run; the faults in it are: {known}")
    return _of_fault(past, fault)


def _said(event: Event) -> str:
    if event.kind == "step":
        return f"step {event.data['step']} of rank {event.rank}"
    return event.name or event.kind


def _of_fault(past: History, fault: Injected) -> Window:
    """From a little before the fault until work goes on, or until what can be shown of it."""
    after = recovery(past, fault)
    last = after.phases[-1].end if after.phases else max(fault.end, after.done or 0.0)
    if len(after.phases) > 1 and after.phases[-1].name in ("redo", "step"):
        # A long step would squeeze the phases before it: it leaves the picture on the right.
        quick = after.phases[-2].end - fault.begin
        last = min(last, after.phases[-2].end + 2 * quick)
    if last <= fault.begin:
        last = after.done or min(past.end, fault.begin + _stride(past))
    air = max(0.12 * (last - fault.begin), 1e-4)
    return Window(fault.begin - air, last + air, fault.begin, fault.name, fault, after)


def _of_time(past: History, time: float, name: str, zero: float | None = None) -> Window:
    """The recovery that was going on at that time, else a few steps around it."""
    if not -1e-6 <= time <= past.end + 1e-6:
        raise ValueError(f"this run lasted {past.end:.3g} s: there is nothing at {time:.3g} s")
    for fault in reversed(past.faults):
        after = recovery(past, fault)
        if fault.kind == "Kill" and fault.begin <= time <= (after.done or past.end):
            return _of_fault(past, fault)
    half = _stride(past)
    return Window(
        max(0.0, time - half), min(past.end, time + half), time if zero is None else zero, name
    )


def _stride(past: History) -> float:
    """About two steps, in seconds."""
    times = [s.time for s in past.steps]
    count = len({s.data.get("step") for s in past.steps})
    return 2 * (times[-1] - times[0]) / (count - 1) if count > 1 else past.end / 10 or 1e-3


def _title(window: Window) -> str | None:
    after, fault = window.after, window.fault
    if after is None or after.seconds is None or fault is None:
        return None
    if not after.phases:
        return f"{fault.name}: {duration(after.seconds)} until every member has made a step"
    to = f"the first step of view {after.view}" if after.view is not None else "the next step"
    begin = "SIGKILL" if fault.kind == "Kill" else fault.name
    return f"Anatomy of a recovery: {duration(after.seconds)} from {begin} to {to}"


def _moments(past: History, window: Window) -> list[Moment]:
    moments = furniture.view_moments(past)
    if window.after and window.after.done is not None:
        text = "every member has made a step"
        moments.append(Moment(window.after.done, text, style.INK, "done", dotted=True))
    for mark in marks.durable(past):
        text = f"checkpoint step {mark.data.get('step')}"
        moments.append(Moment(mark.time, text, style.CHECKPOINT, "checkpoint"))
    return moments


# ---- phases, above the lanes -------------------------------------------------------------------


@dataclass
class PhaseRows:
    """A double arrow for each phase, with its name and duration centred above it."""

    phases: list[Phase]
    spots: list[tuple[float, int]]
    top: float

    @staticmethod
    def of(sheet: Sheet, phases: list[Phase], top: float) -> PhaseRows:
        """A label that is wider than its phase goes to a row of its own where it must."""
        spots: list[tuple[float, int]] = []
        taken: list[tuple[float, float, int]] = []
        for phase in phases:
            width = width_of(_phase_text(phase, sheet), weight="bold")
            middle = (sheet.x(phase.begin) + sheet.x(min(phase.end, sheet.end))) / 2
            x = min(max(MARGIN, middle - width / 2), sheet.width - MARGIN - width)
            row = 0
            while any(r == row and x < end + 0.1 for _, end, r in taken):
                row += 1
            spots.append((x, row))
            taken.append((x, x + width, row))
        return PhaseRows(phases, spots, top)

    @property
    def rows(self) -> int:
        return 1 + max((row for _, row in self.spots), default=-1)

    @property
    def bottom(self) -> float:
        return self.top + self.rows * height_of() + (0.2 if self.phases else 0.0)

    def draw(self, sheet: Sheet) -> None:
        y = self.bottom - 0.1
        for phase, (x, row) in zip(self.phases, self.spots, strict=True):
            colour = PHASES[phase.name]
            a, b = sheet.x(phase.begin), sheet.x(min(phase.end, sheet.end))
            arrow = sheet.page.annotate(
                "", (b, y), (a, y),
                arrowprops={
                    "arrowstyle": "<->" if phase.end <= sheet.end else "<-",
                    "color": colour, "lw": 1.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9,
                },
            )  # fmt: skip
            arrow.set_gid(f"phase:{phase.name}")
            middle = self.bottom - 0.2 - (row + 0.5) * height_of()
            if row:
                line = [(a + b) / 2, (a + b) / 2], [middle + 0.09, y - 0.03]
                sheet.page.plot(*line, color=colour, lw=0.8)
            text = _phase_text(phase, sheet)
            how = {"weight": "bold", "color": colour, "gid": f"phasename:{phase.name}"}
            sheet.write(x, middle, text, **how)


def _phase_text(phase: Phase, sheet: Sheet) -> str:
    beyond = "" if phase.end <= sheet.end else "  →"
    return f"{phase.name}  {duration(phase.end - phase.begin)}{beyond}"


def draw_axis(sheet: Sheet, window: Window) -> None:
    """Milliseconds, or seconds for what lasts longer than ten, since the fault."""
    small = sheet.end - sheet.begin < 10 and window.since != "start"
    scale, unit = (1000.0, "milliseconds") if small else (1.0, "seconds")
    axes = sheet.axes(sheet.bottom, sheet.bottom + 0.02)
    style.plain_axes(axes)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim((sheet.begin - window.zero) * scale, (sheet.end - window.zero) * scale)
    axes.set_xlabel(f"{unit} since {window.since}", size=style.LABEL, family=style.FONT)
