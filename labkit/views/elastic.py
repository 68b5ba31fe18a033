"""Pictures of elastic runs: how often the model has seen each sample, and what a recovery is made
of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labkit.views import style
from labkit.views.anatomy import PHASES
from labkit.views.charts import chart
from labkit.views.furniture import duration
from labkit.views.history import history
from labkit.views.labels import width_of
from labkit.views.recovery import Phase, recovery

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TIMES = {0: (style.VERMILION, "never"), 1: (style.SKY, "once"), 2: (style.INK, "more than once")}


def samples_seen(
    counts: Mapping[str, Sequence[float]], title: str = "", columns: int = 120
) -> Figure:
    """A cell a sample, coloured by how often the model has seen it: `{"name": [1, 1, 0, …]}`.

    The samples stand in the order given, in rows of `columns`; beside them how many there are of
    each kind.
    """
    from matplotlib.colors import ListedColormap

    heights = {name: -(-len(seen) // columns) * 0.085 for name, seen in counts.items()}
    height = 0.5 + sum(0.5 + h for h in heights.values())
    figure: Any = style.figure(10.5, height)
    font = {"family": style.FONT, "va": "top"}
    figure.text(0.02, 1 - 0.12 / height, title, size=style.TITLE, weight="bold", **font)
    colours = ListedColormap([colour for colour, _ in TIMES.values()])
    top = 0.5
    for name, seen in counts.items():
        kinds = [min(2, round(times)) for times in seen]
        figure.text(0.02, 1 - (top + 0.02) / height, name, size=style.LABEL, **font)
        left = 0.02 + (width_of(name, style.LABEL) + 0.35) / 10.5
        for kind, (colour, word) in TIMES.items():
            text = f"{word}: {kinds.count(kind)}"
            ink = style.words(colour)
            how = {"size": style.TEXT, "weight": "bold", "color": ink, "gid": f"{name}:{word}"}
            figure.text(left, 1 - (top + 0.03) / height, text, **how, **font)
            left += (width_of(text, weight="bold") + 0.3) / 10.5
        rows = [kinds[at : at + columns] for at in range(0, len(kinds), columns)]
        rows[-1] += [-1] * (columns - len(rows[-1]))
        box = (0.02, 1 - (top + 0.3 + heights[name]) / height, 0.96, heights[name] / height)
        axes = figure.add_axes(box)
        grid = [[float("nan") if kind < 0 else kind for kind in row] for row in rows]
        axes.imshow(grid, cmap=colours, vmin=-0.5, vmax=2.5, aspect="auto", interpolation="none")
        axes.axis("off")
        top += 0.5 + heights[name]
    return figure


def parts(run: Any) -> dict[str, list[Phase]]:
    """The phases of the recovery from each kill and restart of a run, by the fault's name."""
    events: Iterable[Any] = getattr(run, "events", run)
    past = history(events)
    return {
        fault.name: recovery(past, fault).phases
        for fault in past.faults
        if fault.kind in ("Kill", "Restart")
    }


def recovery_parts(run: Any, title: str = "") -> Figure:
    """A bar for each kill and restart of a run, cut into its phases, in milliseconds.

    Raises ValueError when the run has no recovery to show.
    """
    found = {name: phases for name, phases in parts(run).items() if phases}
    if not found:
        raise ValueError("nobody was killed or restarted in this run: there is nothing to recover")
    left = 0.35 + max(width_of(name, style.LABEL) for name in found)
    size = (10.5, 1.3 + 0.95 * len(found))
    figure, axes = chart(title, "milliseconds since the fault", "", size, right=1.6, left=left)
    longest = max(1000 * (p[-1].end - p[0].begin) for p in found.values())
    scale = (size[0] - left - 1.6) / longest  # inches a millisecond
    for row, phases in enumerate(found.values()):
        _bar(axes, row, phases, scale)
    axes.set_xlim(0, longest)
    axes.set_ylim(len(found) - 0.45, -0.75)
    axes.set_yticks(range(len(found)), list(found), size=style.LABEL, family=style.FONT)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure


def _bar(axes: Any, row: int, phases: list[Phase], scale: float) -> None:
    """Names above their phases, each to the right of the one before it."""
    zero, free = phases[0].begin, 0.0
    font = {"size": style.TEXT, "family": style.FONT, "va": "center", "weight": "bold"}
    for phase in phases:
        begin, length = 1000 * (phase.begin - zero), 1000 * (phase.end - phase.begin)
        colour = PHASES[phase.name]
        axes.barh(row, length, 0.4, left=begin, color=colour)[0].set_gid(f"part:{phase.name}")
        text = f"{phase.name} {duration(length / 1000)}"
        at = max(free, begin)
        axes.text(at, row - 0.38, text, color=colour, gid=f"name:{phase.name}", **font)
        free = at + (width_of(text, weight="bold") + 0.12) / scale
    end = 1000 * (phases[-1].end - zero)
    whole = f" {duration(end / 1000)}"
    axes.text(end, row, whole, color=style.INK, clip_on=False, **font)
