"""What the ranks of a job that stands still say when they are asked: a row each, side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from matplotlib.patches import FancyBboxPatch

from labkit.views import style
from labkit.views.charts import panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Incident = Mapping[int, Mapping[str, Any]]
"""By rank: how it has "ended", the "line" it is at, its last "calls" (number, what, state); each
None if it is not known."""

STATES = {
    "completed": style.PALE,
    "started": style.ORANGE,
    "queued": style.YELLOW,
    "failed": "#F2B59B",
}
WIDTH, NAMES, ROW = 11.0, 2.9, 0.62


def recorded() -> list[dict[str, Any]]:
    """Real incidents (`labkit/data/README.md`): each an "incident", its "cause" and the "rank" that
    all waited for."""
    text = files("labkit").joinpath("data/incidents.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)
    for one in found:
        one["incident"] = {int(rank): seen for rank, seen in one["incident"].items()}
    return found


def evidence(incident: Incident, title: str = "", accused: int | None = None) -> Figure:
    """The flight records of all ranks, aligned by number; to the left what is known of each rank
    besides. `accused` is drawn in the colour of a fault."""
    ranks = sorted(incident)
    numbers = sorted({call[0] for seen in incident.values() for call in seen["calls"] or []})
    height = 1.15 + ROW * len(ranks)
    figure = style.figure(WIDTH, height)
    heading = figure.text(0.02, 1 - 0.25 / height, title, size=style.TITLE, weight="bold")
    heading.set(family=style.FONT, va="center")
    axes = panel(figure, (0.2, 0.42, WIDTH - 0.4, ROW * len(ranks)))
    axes.set(xlim=(0, WIDTH - 0.4), ylim=(len(ranks), 0))
    axes.axis("off")
    width = (WIDTH - 0.4 - NAMES) / max(1, len(numbers))
    for column, number in enumerate(numbers):
        x = NAMES + (column + 0.5) * width
        words(axes, x, -0.12, f"collective {number}", style.SMALL, ha="center", va="bottom")
    for row, rank in enumerate(ranks):
        colour = style.FAULT if rank == accused else style.INK
        _rank(axes, row, rank, incident[rank], colour)
        for number, what, state in incident[rank]["calls"] or []:
            _call(axes, NAMES + numbers.index(number) * width, row, width, (what, state))
    _legend(axes, len(ranks) + 0.32, sorted(_states(incident)))
    return figure


def words(axes: Any, x: float, y: float, text: str, size: float, **how: Any) -> Any:
    return axes.text(x, y, text, size=size, family=style.FONT, **how)


def _rank(axes: Any, row: int, rank: int, seen: Mapping[str, Any], colour: str) -> None:
    words(axes, 0, row + 0.3, f"rank {rank}", style.LABEL, va="center", weight="bold", color=colour)
    told = "answers" if seen["calls"] is not None else "no answer"
    if seen["ended"]:
        told = f"its process has ended: {seen['ended']}"
    line = re.sub(r"`.*", "", seen["line"] or "").strip()
    under = line or ("" if seen["ended"] else "and no line to be had")
    words(axes, 0.62, row + 0.3, told, style.SMALL, va="center", color=colour)
    words(axes, 0.62, row + 0.68, under, style.SMALL, va="center", color=style.GREY)


def _call(axes: Any, x: float, row: int, width: float, call: tuple[str, str]) -> None:
    what, state = call
    name, _, arguments = what.rstrip(")").replace("float32", "").partition("(")
    look: dict[str, Any] = {
        "boxstyle": "round,pad=0,rounding_size=0.04",
        "facecolor": STATES[state],
        "lw": 0,
    }
    box = FancyBboxPatch((x + 0.05, row + 0.09), width - 0.1, 0.82, **look)
    box.set_gid(f"call:{row}:{what}:{state}")
    axes.add_patch(box)
    middle = x + width / 2
    words(axes, middle, row + 0.33, name, style.SMALL, ha="center", va="center", weight="bold")
    words(axes, middle, row + 0.67, arguments, style.SMALL - 1, ha="center", va="center")


def _states(incident: Incident) -> set[str]:
    return {call[2] for seen in incident.values() for call in seen["calls"] or []}


def _legend(axes: Any, y: float, states: Sequence[str]) -> None:
    for place, state in enumerate(states):
        x = NAMES + 0.05 + 1.3 * place
        look: dict[str, Any] = {
            "boxstyle": "square,pad=0",
            "facecolor": STATES[state],
            "lw": 0,
            "clip_on": False,
        }
        axes.add_patch(FancyBboxPatch((x, y - 0.15), 0.22, 0.26, **look))
        words(axes, x + 0.32, y, state, style.SMALL, va="center")
