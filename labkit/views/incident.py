"""The picture of exercise data_parallel.5: what each rank spends, and for whom all wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.views import style

KINDS = {"data": style.YELLOW, "computing": style.SKY, "all-reduce": style.ORANGE}


def incident(log: Sequence[tuple], expected: tuple[int, str] | None, told: Any) -> Any:
    """`log` holds (rank, step, what, begin, end); a bar for each step of each rank, each rank's on
    its own clock, as long as the step. The rank that is named is marked, and the one it was, if
    that is known."""
    ranks = sorted({entry[0] for entry in log})
    figure = style.figure(10.0, 1.1 + 0.36 * len(ranks))
    axes = figure.subplots()
    for rank in ranks:
        mine = [entry for entry in log if entry[0] == rank]
        zero = min(entry[3] for entry in mine)
        for what, colour in KINDS.items():
            spans = [(begin - zero, end - begin) for _, _, kind, begin, end in mine if kind == what]
            axes.broken_barh(spans, (rank - 0.34, 0.68), facecolor=colour, label=what)
    culprit, cause = expected or (None, "")
    accused = told[0] if isinstance(told, tuple | list) else None
    names = []
    for rank in ranks:
        mark = "◆ " if rank == accused else ""
        names.append(f"{mark}rank {rank}")
    style.plain_axes(axes)
    axes.set_yticks(ranks, names)
    for rank, label in zip(ranks, axes.get_yticklabels(), strict=True):
        wrong = bool(expected) and rank == accused != culprit
        label.set_color(style.FAULT if wrong else style.GREEN if rank == culprit else style.INK)
        label.set_fontweight("bold" if rank in (accused, culprit) else "normal")
    axes.set_ylim(len(ranks) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds, from each rank's own first entry", size=style.LABEL)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[:3], labels[:3], frameon=False, ncols=3, fontsize=style.SMALL,
                loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)  # fmt: skip
    title = f"It was rank {culprit}: {cause}" if expected else f"You say {told!r:.50}"
    title = title if told else "Nobody was named"
    axes.set_title(title, size=style.TITLE, family=style.FONT, loc="left")
    figure.tight_layout()
    return figure
