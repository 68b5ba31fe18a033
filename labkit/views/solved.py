"""The picture of `progress()`: every exercise of the lab, and which of them are solved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.patches import FancyBboxPatch

from labkit.views import style


class Square(NamedTuple):
    """An exercise; `row` is its notebook's heading."""

    row: str
    name: str
    points: int
    solved: bool


WIDE, HIGH = 1.55, 0.42
"""Inches of a square with its room; the longest name is data_parallel.5."""


def solved(squares: Sequence[Square]) -> Any:
    """A row for each notebook, a square for each exercise, green when it is solved."""
    rows = list(dict.fromkeys(square.row for square in squares))
    most = max(sum(square.row == row for square in squares) for row in rows)
    left, width = 3.1, 3.2 + WIDE * most
    figure = style.figure(width, 0.75 + HIGH * len(rows))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(0.75 + HIGH * len(rows), 0)
    axes.axis("off")
    words: dict[str, Any] = {"family": style.FONT, "va": "center"}
    axes.text(0.15, 0.32, heading(squares), size=style.TITLE, **words)
    for place, row in enumerate(rows):
        y = 0.85 + HIGH * place
        axes.text(0.15, y, row, size=style.LABEL, **words)
        for column, square in enumerate(s for s in squares if s.row == row):
            x = left + WIDE * column
            box = FancyBboxPatch(
                (x, y - 0.14),
                WIDE - 0.14,
                0.28,
                boxstyle="round,pad=0.02",
                facecolor=style.GREEN if square.solved else style.PAPER,
                edgecolor=style.GREEN if square.solved else style.PALE,
            )
            axes.add_patch(box).set_gid(f"{square.name}:{'solved' if square.solved else 'open'}")
            axes.text(
                x + WIDE / 2 - 0.07,
                y,
                f"{square.name} · {square.points}",
                ha="center",
                size=style.SMALL,
                color=style.PAPER if square.solved else style.INK,
                **words,
            )
    return figure


def heading(squares: Sequence[Square]) -> str:
    done = [square for square in squares if square.solved]
    points = sum(square.points for square in squares)
    return (
        f"{len(done)} of {len(squares)} exercises solved, "
        f"{sum(square.points for square in done)} of {points} points"
    )
