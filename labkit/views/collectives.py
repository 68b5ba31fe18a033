"""The pictures of collectives: chunks on their way, who talks to whom, traffic, and time.

`ring_chunks`, `schedule_chunks`, `tree_diagram`, `halving_doubling_diagram` and `mesh_and_ring` are
drawn from the rules alone; `traffic_bars` and `time_curves` from what was counted and measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from labkit.views import style
from labkit.views.charts import (
    bytes_text,
    chart,
    dress,
    label_ends,
    margin_for,
    panel,
    seconds_text,
)
from labkit.views.chunks import Move, ring_chunks, schedule_chunks
from labkit.views.rounds import halving_doubling_diagram, mesh_and_ring, tree_diagram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Move",
    "halving_doubling_diagram",
    "mesh_and_ring",
    "ring_chunks",
    "schedule_chunks",
    "time_curves",
    "traffic_bars",
    "tree_diagram",
]

COLOURS = {
    "naive": style.VERMILION,
    "ring": style.BLUE,
    "tree": style.GREEN,
    "halving_doubling": style.PURPLE,
    "halving-doubling": style.PURPLE,
    "shared_memory": style.ORANGE,
    "builtin": "#5B5B5B",
    "gloo": "#5B5B5B",
    "mpi": style.SKY,
}
"""An algorithm has one colour in all pictures."""

_OTHERS = (style.INK, "#8E4A73", "#44AA99", "#999933")


class Counted(Protocol):
    """What one rank sent, as a link counts it."""

    @property
    def sent_bytes(self) -> int: ...
    @property
    def sent_messages(self) -> int: ...
    @property
    def received_bytes(self) -> int: ...
    @property
    def received_messages(self) -> int: ...


def colour_of(name: str, place: int) -> str:
    return COLOURS.get(name.lower(), _OTHERS[place % len(_OTHERS)])


def traffic_bars(traffic: Mapping[str, Sequence[Counted]], size: int, title: str = "") -> Figure:
    """Bytes and messages that each rank sent, a bar per rank, a group per algorithm.

    `traffic` has the ranks' counts by algorithm, `size` is that of the tensor in bytes. The dashed
    line is 2(n-1)/n times the size: the busiest rank cannot send less.
    """
    figure = style.figure(11.0, 3.8)
    ranks = max(len(counts) for counts in traffic.values())
    left = panel(figure, (0.5, 0.5, 4.3, 2.5))
    right = panel(figure, (6.5, 0.5, 4.3, 2.5))
    dress(left, f"bytes sent by each rank (S = {bytes_text(size)})", "", "")
    dress(right, "messages sent by each rank", "", "")
    sent = {name: [c.sent_bytes / size for c in counts] for name, counts in traffic.items()}
    messages = {name: [float(c.sent_messages) for c in counts] for name, counts in traffic.items()}
    _groups(left, sent, lambda v: f"{v:.3g} S")
    _groups(right, messages, lambda v: f"{v:.0f}")
    least = 2 * (ranks - 1) / ranks
    left.axhline(least, color=style.INK, ls="--", lw=1.2, zorder=4, gid="least")
    note = {"size": style.SMALL, "family": style.FONT, "color": style.INK}
    left.text(1.01, least, f"2(n−1)/n S =\n{least:.3g} S", transform=left.get_yaxis_transform(),
              va="center", **note)  # fmt: skip
    left.yaxis.set_major_formatter(lambda value, _: f"{value:g} S" if value else "0")
    if title:
        figure.suptitle(title, size=style.TITLE, weight="bold", family=style.FONT, x=0.5, y=1.0)
    return figure


def _groups(axes: Any, values: Mapping[str, Sequence[float]], text: Any) -> None:
    """Bars side by side for the ranks of each group; the largest of a group has its number."""
    for i, (name, heights) in enumerate(values.items()):
        wide = 0.8 / len(heights)
        xs = [i - 0.4 + wide * (k + 0.5) for k in range(len(heights))]
        bars = axes.bar(xs, heights, wide * 0.9, color=colour_of(name, i))
        for bar in bars:
            bar.set_gid(f"bar:{name}")
        most = max(heights)
        words = {"size": style.SMALL, "family": style.FONT, "color": style.INK}
        top = [x for x, height in zip(xs, heights, strict=True) if height == most]
        middle = sum(top) / len(top) if len(top) == len(xs) else top[0]
        axes.text(middle, most, text(most), ha="center", va="bottom", **words)
    axes.set_xticks(range(len(values)), [n.replace("_", "-") for n in values], family=style.FONT)
    axes.tick_params(axis="x", length=0, labelsize=style.TEXT)
    axes.set_ylim(0, 1.15 * max(max(h) for h in values.values()))


def time_curves(
    measured: Mapping[str, Sequence[tuple[float, float]]],
    models: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    title: str = "",
) -> Figure:
    """Time against message size on two logarithmic axes.

    By algorithm: points (bytes, seconds) that were measured, and lines that a model says. A point
    may stand in `measured` several times: all are drawn.
    """
    models = models or {}
    names = list(dict.fromkeys([*measured, *models]))
    labels = [n.replace("_", "-") for n in names]
    figure, axes = chart(title, "size of the tensor", "time", (9.5, 4.4), right=margin_for(labels))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ends = []
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        colour = colour_of(name, i)
        model, points = sorted(models.get(name, ())), sorted(measured.get(name, ()))
        if model:
            line = axes.plot(*zip(*model, strict=True), color=colour, lw=1.8, alpha=0.85)[0]
            line.set_gid(f"model:{name}")
        if points:
            how = {"ls": "none" if model else "-", "lw": 1.2, "marker": "o", "ms": 5.5}
            dots = axes.plot(*zip(*points, strict=True), color=colour, mec=style.PAPER, **how)[0]
            dots.set_gid(f"measured:{name}")
        ends.append(((model or points)[-1][1], label, colour))
    axes.xaxis.set_major_formatter(lambda value, _: bytes_text(value))
    axes.yaxis.set_major_formatter(lambda value, _: seconds_text(value))
    axes.minorticks_off()
    axes.grid(axis="y", color=style.PALE, lw=0.8)
    axes.set_axisbelow(True)
    label_ends(axes, ends)
    if models and measured:
        words = {"size": style.SMALL, "family": style.FONT, "color": style.GREY}
        axes.text(0.01, 0.98, "points: measured   lines: model", transform=axes.transAxes,
                  va="top", **words)  # fmt: skip
    return figure
