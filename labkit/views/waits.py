"""Who waits for whom: the wait-for graph of ranks. A cycle in it is a deadlock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.views import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NODE = 0.24
"""Radius of a rank, where the circle on which they lie has radius 1."""


def waits_for(graph: Mapping[int, int | None], title: str = "", why: str = "") -> Figure:
    """`graph` maps each rank to the one that it waits for, None for one that waits for nobody.

    Ranks of a cycle, and the arrows of it, have the colour of a fault; `why` is written into the
    middle. (E. Coffman, M. Elphick and A. Shoshani, "System Deadlocks", 1971: circular wait.)
    """
    figure = style.figure(5.2, 4.1)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.84))
    axes.set(xlim=(-2.0, 2.0), ylim=(-1.38, 1.38), aspect="equal")
    axes.axis("off")
    figure.text(0.03, 0.93, title, size=style.TITLE, family=style.FONT, weight="bold")
    ring, spots = set(cycle(graph)), places(sorted(graph))
    bend = -0.9 if len(graph) == 2 else -0.18  # two arrows around the words, not through them
    for rank, other in sorted(graph.items()):
        if other is not None:
            colour = style.FAULT if rank in ring else style.GREY
            _arrow(axes, spots[rank], spots[other], colour, bend)
    for rank, (x, y) in spots.items():
        colour = style.FAULT if rank in ring else style.INK
        axes.add_patch(_disc(x, y, colour))
        axes.text(x, y, str(rank), ha="center", va="center", size=style.LABEL, family=style.FONT)
    axes.text(0, 0, why, ha="center", va="center", size=style.TEXT, family=style.FONT)
    return figure


def cycle(graph: Mapping[int, int | None]) -> list[int]:
    """The ranks of a cycle, in its order; none when somebody can go on."""
    for start in sorted(graph):
        seen: list[int] = []
        at: int | None = start
        while at is not None and at not in seen:
            seen.append(at)
            at = graph.get(at)
        if at is not None:
            return seen[seen.index(at) :]
    return []


def places(ranks: list[int]) -> dict[int, tuple[float, float]]:
    """On a circle of radius 1, clockwise from the top."""
    angles = [math.pi / 2 - 2 * math.pi * i / len(ranks) for i in range(len(ranks))]
    return {rank: (math.cos(a), math.sin(a)) for rank, a in zip(ranks, angles, strict=True)}


def _arrow(
    axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str, bend: float
) -> None:
    (x0, y0), (x1, y1) = start, end
    length = math.hypot(x1 - x0, y1 - y0)
    dx, dy = (x1 - x0) / length * NODE * 1.15, (y1 - y0) / length * NODE * 1.15
    look = {"arrowstyle": "-|>", "color": colour, "lw": 2.0, "mutation_scale": 16}
    look["connectionstyle"] = f"arc3,rad={bend}"
    axes.annotate("", (x1 - dx, y1 - dy), (x0 + dx, y0 + dy), arrowprops=look)


def _disc(x: float, y: float, colour: str) -> Any:
    from matplotlib.patches import Circle

    return Circle((x, y), NODE, facecolor=style.PAPER, edgecolor=colour, linewidth=2.0, zorder=3)
