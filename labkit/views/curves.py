"""Curves of training: loss, steps against time, speed-up; and plain comparisons.

A run is a list of events, or anything with `events`, such as what `cluster.run` returns.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labkit.events import Event
from labkit.views import style
from labkit.views.charts import chart, label_ends, margin_for
from labkit.views.history import history
from labkit.views.labels import width_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERIES = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.SKY, style.INK, style.YELLOW)
"""Colours of lines that mean nothing but themselves; vermilion is kept for faults."""
LOOKS = 16
"""Moments at which two ranks' steps are compared."""


def loss_curves(runs: Any, metric: str = "loss", title: str = "") -> Figure:
    """A metric against the step: `loss_curves(run)` or `loss_curves({"4 ranks": a, "8": b})`.

    The mean over the ranks that reported it; of a step that was done again, the last report. A
    cross marks the step at which a rank died.
    """
    named = runs if isinstance(runs, Mapping) else {"": runs}
    curves = {name: metric_by_step(_events(run), metric) for name, run in named.items()}
    if not any(curves.values()):
        raise ValueError(f"no rank reported {metric!r}: worker.report({metric}=…) in the loop does")
    figure, axes = _lines(
        {n: (list(c), list(c.values())) for n, c in curves.items()}, title, "step", metric
    )
    for name, run in named.items():
        for step in deaths_by_step(_events(run)):
            nearest = min(curves[name], key=lambda s: abs(s - step), default=None)
            if nearest is not None:
                cross = axes.plot(nearest, curves[name][nearest], "x", ms=10, mew=3, zorder=5)[0]
                cross.set(color=style.FAULT, gid="death")
    return figure


def metric_by_step(events: Iterable[Event], metric: str) -> dict[int, float]:
    """Mean over the ranks by step, each rank with its last report of the step."""
    last: dict[int, dict[int, float]] = defaultdict(dict)
    for event in sorted(events, key=lambda e: e.time):
        if event.kind == "metric" and event.name == metric and event.data.get("step") is not None:
            last[int(event.data["step"])][event.rank] = float(event.data["value"])
    return {step: sum(v.values()) / len(v) for step, v in sorted(last.items())}


def deaths_by_step(events: Iterable[Event]) -> list[int]:
    return [e.data["step"] for e in events if e.kind == "death" and e.data.get("step") is not None]


def step_curves(run: Any, title: str = "") -> Figure:
    """Each rank's step against time: who is ahead, who stands still, who goes back."""
    past = history(_events(run))
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for rank in past.trainers:
        points = [(m.time, float(m.data["step"])) for m in past.steps if m.rank == rank]
        if points:
            points += [(d.time, math.nan) for d in past.deaths if d.rank == rank]
            times, steps = zip(*sorted(points), strict=True)
            curves[f"rank {rank}"] = list(times), list(steps)
    figure, axes = _lines(curves, title, "seconds since start", "step", drawstyle="steps-post")
    drawn = list(curves.values())
    for i, line in enumerate(axes.lines):  # where lines lie on each other, the lower are wider
        above = sum(_together(drawn[i], other) for other in drawn[i + 1 :])
        line.set(linewidth=2 + 2.2 * above / max(1, len(curves) / 4))
    for fault in past.faults:
        band = axes.axvspan(fault.begin, max(fault.end, fault.begin + past.end / 300), lw=0)
        band.set(color=style.FAULT, alpha=0.15, zorder=0, gid=f"fault:{fault.name}")
    return figure


def _together(one: tuple[list[float], list[float]], other: tuple[list[float], list[float]]) -> bool:
    """Whether two ranks are within a step of each other, wherever one looks."""
    end = min(one[0][-1], other[0][-1])
    moments = [end * (i + 1) / LOOKS for i in range(LOOKS)]
    pairs = [(_step_at(one, moment), _step_at(other, moment)) for moment in moments]
    return all(abs(mine - theirs) <= 1 for mine, theirs in pairs)


def _step_at(curve: tuple[list[float], list[float]], moment: float) -> float:
    steps = [step for time, step in zip(*curve, strict=True) if time <= moment and step == step]
    return max(steps, default=0.0)


def speedup(seconds: Mapping[int, float], title: str = "", serial: float | None = None) -> Figure:
    """Measured speed-up by number of ranks, with Amdahl's curve.

    `seconds` is the time of the same work by number of ranks and needs an entry for 1. `serial` is
    the share that does not get faster; without it the share that fits best is drawn (G. Amdahl,
    "Validity of the single processor approach", AFIPS 1967).
    """
    if 1 not in seconds:
        raise ValueError("speed-up is measured against one rank: give seconds[1] too")
    counts = sorted(seconds)
    measured = [seconds[1] / seconds[n] for n in counts]
    share = amdahl_fit(counts, measured) if serial is None else serial
    law = f"Amdahl, {100 * share:.0f} % serial"
    right = margin_for(["measured", law, "ideal"])
    figure, axes = chart(title, "ranks", "times as fast as one", (7.5, 4.0), right=right)
    many = [1 + i * (counts[-1] - 1) / 100 for i in range(101)]
    amdahl = [1 / (share + (1 - share) / n) for n in many]
    axes.plot(many, many, ls=":", color=style.GREY, lw=1.4, gid="ideal")
    axes.plot(many, amdahl, color=style.ORANGE, lw=2, gid="amdahl")
    axes.plot(counts, measured, "o", color=style.BLUE, ms=7, gid="measured")
    axes.set_xticks(counts)
    axes.set(xlim=(0.8, counts[-1] * 1.02), ylim=(0, 1.05 * counts[-1]))
    ends = [(measured[-1], "measured", style.BLUE), (amdahl[-1], law, style.ORANGE)]
    label_ends(axes, [*ends, (many[-1], "ideal", style.GREY)])
    return figure


def amdahl_fit(counts: Sequence[int], measured: Sequence[float]) -> float:
    """The serial share f for which 1/S = f + (1-f)/n fits best: least squares, within 0 to 1."""
    xs = [1 - 1 / n for n in counts]
    ys = [1 / s - 1 / n for n, s in zip(counts, measured, strict=True)]
    square = sum(x * x for x in xs)
    return (
        min(1.0, max(0.0, sum(x * y for x, y in zip(xs, ys, strict=True)) / square))
        if square
        else 0.0
    )


# ---- comparisons -------------------------------------------------------------------------------


def compare_bars(
    values: Mapping[str, float | Sequence[float]],
    unit: str = "",
    title: str = "",
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """A bar a name, its number at its end. Of several values: the median, and a line from the
    smallest to the largest."""
    left = 0.35 + max(width_of(name, style.LABEL) for name in values)
    figure, axes = chart(title, unit, "", (8.0, 1.25 + 0.42 * len(values)), right=0.9, left=left)
    for place, (name, value) in enumerate(values.items()):
        several = sorted(value) if isinstance(value, Sequence) else [value]
        middle = several[len(several) // 2]
        colour = (colours or {}).get(name, style.BLUE)
        axes.barh(place, middle, 0.62, color=colour)[0].set_gid(f"bar:{name}")
        if several[0] < several[-1]:
            line = axes.plot([several[0], several[-1]], [place, place], color=style.INK, lw=1.5)[0]
            line.set_gid(f"range:{name}")
        words = {"size": style.TEXT, "family": style.FONT, "color": style.INK, "va": "center"}
        axes.annotate(f"{middle:,.3g}".replace(",", "\u2009"), (several[-1], place), (5, 0),
                      textcoords="offset points", annotation_clip=False, **words)  # fmt: skip
    axes.set_yticks(range(len(values)), list(values), size=style.LABEL, family=style.FONT)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure


def compare_lines(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x: str = "",
    y: str = "",
    title: str = "",
    log: str = "",
) -> Figure:
    """Lines `(xs, ys)` with their names at their ends; `log` is "", "x", "y" or "xy"."""
    return _lines(lines, title, x, y, log)[0]


def _lines(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    x: str,
    y: str,
    log: str = "",
    **how: Any,
) -> tuple[Any, Any]:
    figure, axes = chart(title, x, y, (8.5, 3.8), right=margin_for(list(lines)))
    ends = []
    for i, (name, (xs, ys)) in enumerate(lines.items()):
        colour = SERIES[i % len(SERIES)]
        axes.plot(xs, ys, color=colour, lw=2, **how)[0].set_gid(f"line:{name}")
        if name and len(ys):
            ends.append((next(y for y in reversed(ys) if y == y), name, colour))
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
    label_ends(axes, ends)
    return figure, axes


def _events(run: Any) -> list[Event]:
    return list(getattr(run, "events", run))
