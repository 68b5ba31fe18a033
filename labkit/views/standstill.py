"""The picture of exercise ring.4: how far each rank comes when one of them stops."""

from __future__ import annotations

from typing import Any

from labkit.views import style


def steps_ended(true: list[int], told: Any, stopped: int, last: int) -> Any:
    """A bar for each rank to the step at which it stands still, and a mark for what was told."""
    figure = style.figure(9.0, 1.0 + 0.34 * len(true))
    axes = figure.subplots()
    for rank, ended in enumerate(true):
        colour = style.FAULT if rank == stopped else style.GREEN if ended == last else style.PALE
        axes.barh(rank, ended, 0.62, color=colour, zorder=1)
        word = "stopped" if rank == stopped else "done" if ended == last else "waits"
        axes.text(ended + 0.12, rank, word, va="center", size=style.SMALL, family=style.FONT)
    marks = told if isinstance(told, list) else []
    shown = [(x, rank) for rank, x in enumerate(marks[: len(true)]) if type(x) is int]
    right = sum(true[rank] == x for x, rank in shown)
    axes.scatter(
        [x for x, _ in shown],
        [rank for _, rank in shown],
        s=46,
        marker="D",
        color=[style.INK if true[rank] == x else style.VERMILION for x, rank in shown],
        zorder=3,
    )
    style.plain_axes(axes)
    axes.set_yticks(range(len(true)), [f"rank {rank}" for rank in range(len(true))])
    axes.set_ylim(len(true) - 0.4, -0.6)
    axes.set_xlim(0, max([last + 1.6, *(x + 0.6 for x, _ in shown)]))
    axes.set_xlabel("steps ended (diamonds: yours)", size=style.LABEL, family=style.FONT)
    axes.set_title(
        f"{right} of {len(true)} ranks come as far as you say",
        size=style.TITLE, family=style.FONT, loc="left",
    )  # fmt: skip
    figure.tight_layout()
    return figure
