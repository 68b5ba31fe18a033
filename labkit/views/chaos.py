"""A fault plan as a picture, before the run; and what became of each fault, after it.

Both have a row for each fault and seconds from left to right, so that they can be laid beside each
other. What is said of a fault is read from the events, like everything in a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from labkit.faults import At, FaultPlan, Heal, Kill, Pause
from labkit.views import marks, style
from labkit.views.charts import dress, panel
from labkit.views.furniture import duration
from labkit.views.history import History, history
from labkit.views.injected import Injected
from labkit.views.labels import width_of
from labkit.views.recovery import recovery

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, ROW = 10.5, 0.44
"""Inches of the picture, and of a row: a line of words, and the bar below it."""
ENDS = ("Heal", "Resume", "Revive", "Restart")
"""They end faults, and are none."""
LATE = 1.5
"""Seconds behind a fault's end in which a suspicion may still be its doing."""
FELT = 3.0
"""Times the usual pace that a step must take for a fault to have been felt."""


@dataclass(frozen=True)
class Row:
    """A fault: its name, what is said of it, and when it was in force (None: that is not known)."""

    name: str
    said: str
    begin: float | None
    end: float


def briefly(fault: object) -> str:
    """`Delay(source=1, target=2, seconds=0.09)`: as the code, with two digits."""
    return re.sub(r"\d*\.\d{3,}", lambda digits: f"{float(digits[0]):.2g}", str(fault))


# ---- the plan ------------------------------------------------------------------------------------


def planned(plan: FaultPlan) -> list[Row]:
    """A row for each fault of the plan, by the clock; those that wait for a rank come last."""
    heals = [e.seconds for e in plan.entries if isinstance(e.fault, Heal) and e.seconds is not None]
    last = max([e.seconds or 0.0 for e in plan.entries], default=0.0)
    rows = []
    for entry in plan.entries:
        if not isinstance(entry.fault, Heal):
            ends = [second for second in heals if second > (entry.seconds or 0.0)]
            rows.append(_planned(entry, min(ends, default=last)))
    return sorted(rows, key=lambda row: (row.begin is None, row.begin or 0.0))


def _planned(entry: At, healed: float) -> Row:
    name, begin = briefly(entry.fault), entry.seconds
    if begin is None:
        what = f"step {entry.step}" if entry.step else f"“{entry.point}”"
        times = "" if entry.step else f" for the {ordinal(entry.count)} time"
        return Row(name, f"when rank {entry.striker} comes to {what}{times}", None, 0.0)
    match entry.fault:
        case Kill():
            return Row(name, "", begin, begin)
        case Pause(_, seconds):
            return Row(name, "", begin, healed if seconds is None else begin + seconds)
    return Row(name, "", begin, max(begin, healed))


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"


def plan_picture(plan: FaultPlan, title: str = "") -> Any:
    """What a plan will do, if all ranks live long enough to have it done to them."""
    rows = planned(plan)
    figure, axes = _rows(rows, title, 0.0)
    end = max([row.end for row in rows if row.begin is not None], default=0.0)
    axes.set_xlim(0, 1.02 * end or 1.0)
    _draw(axes, rows)
    axes.set_xlabel("seconds since start", fontsize=style.LABEL, family=style.FONT)
    axes.xaxis.set_visible(end > 0)  # nothing in it has a time
    axes.spines["bottom"].set_visible(end > 0)
    return figure


# ---- the story -----------------------------------------------------------------------------------


def told(run: Any) -> list[Row]:
    """What became of each fault of a run, a sentence for each."""
    past = history(getattr(run, "events", run))
    faults = [fault for fault in past.faults if fault.kind not in ENDS]
    return [Row(briefly(f.name), _said(past, f), f.begin, f.end) for f in faults]


def story(run: Any, title: str = "") -> Figure:
    """Each fault of a run with what became of it; below, how many ranks were in the view."""
    events: Iterable[Any] = getattr(run, "events", run)
    past, rows = history(events), told(run)
    figure, axes = _rows(rows, title, 1.1)
    axes.set_xlim(0, past.end)
    _draw(axes, rows)
    axes.tick_params(axis="x", labelbottom=False)
    members = panel(figure, (0.55, 0.6, WIDTH - 0.75, 0.75))
    dress(members, "", "seconds since start", "ranks in")
    installed = marks.installed(past)
    times = [0.0, *(v.time for v in installed), past.end]
    counts = [len(past.trainers), *(len(v.data.get("members", ())) for v in installed)]
    line = members.plot(times, [*counts, counts[-1]], drawstyle="steps-post", lw=2)[0]
    line.set(color=style.VIEW, gid="ranks in the view")
    members.set(xlim=(0, past.end), ylim=(0, len(past.trainers) + 0.4))
    members.set_yticks(range(0, len(past.trainers) + 1, max(1, len(past.trainers) // 4)))
    return figure


def _said(past: History, fault: Injected) -> str:
    if fault.kind == "Kill":
        return _death(past, fault, fault.ranks[0])
    gone = [rank for rank in fault.ranks if _suspected(past, fault, rank)]
    if gone:
        out, back = _absence(past, gone[0], fault.begin)
        who = f"ranks {', '.join(map(str, gone))} are" if gone[1:] else f"rank {gone[0]} is"
        again = "" if back is None else f", and in again after {duration(back - out)} more"
        return f"{who} taken for dead after {duration(out - fault.begin)}{again}"
    longest, usual = _longest_step(past, fault)
    if longest > FELT * usual:
        return f"nobody is taken for dead; a step takes {duration(longest)}"
    return "no step takes longer for it"


def _death(past: History, fault: Injected, rank: int) -> str:
    if not any(d.rank == rank and 0 <= d.time - fault.begin < LATE for d in past.deaths):
        return f"strikes nobody: there is no process of rank {rank} just now"
    if rank in past.witnesses:
        born = [begin for begin, _ in past.lives[rank] if begin > fault.begin]
        after = f"; it lives again after {duration(born[0] - fault.begin)}" if born else ""
        return f"the witness: the ranks have a majority without it{after}"
    seconds = recovery(past, fault).seconds
    if seconds is None:
        return "no step since"
    _, back = _absence(past, rank, fault.begin)
    said = f"the others go on after {duration(seconds)}"
    if back is None:
        return said
    return f"{said}; rank {rank} is in again after {duration(back - fault.begin)}"


def _absence(past: History, rank: int, since: float) -> tuple[float, float | None]:
    """When the first view without the rank was in force, and the first with it again."""
    later = [v for v in marks.installed(past) if v.time > since]
    out = next((v.time for v in later if rank not in v.data.get("members", ())), since)
    back = [v.time for v in later if v.time > out and rank in v.data.get("members", ())]
    return out, back[0] if back else None


def _suspected(past: History, fault: Injected, rank: int) -> bool:
    """Whether a view left out a rank that this fault had to do with and that nobody had killed."""
    before = [v for v in marks.installed(past) if v.time <= fault.begin]
    if rank in past.witnesses or (before and rank not in before[-1].data.get("members", ())):
        return False
    until = fault.end + LATE
    kills = [f.begin for f in past.faults if f.kind == "Kill" and rank in f.ranks]
    for view in marks.installed(past):
        if fault.begin < view.time < until and rank not in view.data.get("members", ()):
            return not any(fault.begin - LATE < kill < view.time for kill in kills)
    return False


def _longest_step(past: History, fault: Injected) -> tuple[float, float]:
    """Seconds between two steps: the most that began under the fault, and what is usual."""
    first: dict[object, float] = {}
    for mark in sorted(past.steps, key=lambda mark: mark.time):
        first.setdefault(mark.data.get("step"), mark.time)
    times = sorted(first.values())
    gaps = [(a, b) for a, b in pairwise(times)]
    usual = median(b - a for a, b in gaps) if gaps else 0.0
    inside = [b - a for a, b in gaps if fault.begin - 2 * usual < a < fault.end]
    return max(inside, default=0.0), usual


# ---- drawing -------------------------------------------------------------------------------------


def _rows(rows: list[Row], title: str, below: float) -> tuple[Any, Any]:
    """A figure with room for the rows, and `below` inches under them."""
    height = 0.55 + ROW * max(1, len(rows)) + 0.6 + below
    figure = style.figure(WIDTH, height)
    axes = panel(figure, (0.55, 0.6 + below, WIDTH - 0.75, ROW * max(1, len(rows))))
    dress(axes, title, "", "")
    axes.set(ylim=(max(1, len(rows)), 0), yticks=[])
    axes.spines["left"].set_visible(False)
    return figure, axes


def _draw(axes: Any, rows: list[Row]) -> None:
    """Words above their bar: from its begin on, or further left where they would not fit."""
    begin, end = axes.get_xlim()
    inch = (end - begin) / (WIDTH - 0.75)  # seconds
    for place, row in enumerate(rows):
        at = begin if row.begin is None else row.begin
        wide = width_of(row.name, weight="bold") + 0.12
        words = max(begin, min(at, end - inch * (wide + width_of(row.said) + 0.05)))
        font = {"size": style.TEXT, "family": style.FONT, "va": "center"}
        red = style.words(style.FAULT)
        axes.text(words, place + 0.3, row.name, color=red, weight="bold", gid="fault", **font)
        axes.text(words + inch * wide, place + 0.3, row.said, color=style.INK, gid="said", **font)
        if row.begin is None:
            continue
        if row.end > row.begin:
            bar = axes.barh(place + 0.75, row.end - at, 0.3, left=at, color=style.FAULT, alpha=0.35)
            bar[0].set_gid(f"bar:{row.name}")
        else:
            cross = axes.plot(at, place + 0.75, "x", ms=8, mew=2.6, clip_on=False)[0]
            cross.set(color=style.FAULT, gid=f"cross:{row.name}")
