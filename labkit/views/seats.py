"""The picture of exercise hosts.1: which ranks are on which node, expected above yours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labkit.views import style


def seats(
    nodes: Sequence[str], lost: Sequence[str], places: Mapping[str, Mapping[str, Any]], title: str
) -> Any:
    """`places` maps a row's name to {"rank 0": node}. A rank that stands elsewhere than in the
    first row is marked; nodes of the list `lost` are grey, and who stands on none is left out."""
    right = next(iter(places.values()))
    most = max(1, *(list(row.values()).count(node) for row in places.values() for node in nodes))
    figure = style.figure(
        min(11.0, 1.6 + 0.75 * len(nodes)), 1.0 + (0.5 + 0.24 * most) * len(places)
    )
    axes = figure.subplots()
    for place, (name, row) in enumerate(places.items()):
        bottom = -(most + 1.2) * place
        axes.text(-0.7, bottom, name, ha="right", size=style.LABEL, color=style.INK)
        for x, node in enumerate(nodes):
            gone = node in lost
            axes.text(x, bottom - 0.9, node, ha="center", va="center", size=style.SMALL,
                      color=style.FAULT if gone else style.INK)  # fmt: skip
            here = [rank for rank, on in row.items() if on == node]
            for height, rank in enumerate(here):
                wrong = right.get(rank) != node
                box = {"boxstyle": "round,pad=0.25", "lw": 0}
                box["facecolor"] = style.VERMILION if wrong else style.SKY
                label = axes.text(x, bottom + height, rank.removeprefix("rank "), size=style.SMALL)
                label.set(ha="center", va="center", color="white" if wrong else style.INK, bbox=box)
    axes.set_xlim(-1.9, len(nodes) - 0.4)
    axes.set_ylim(-(most + 1.2) * (len(places) - 1) - 1.5, most)
    axes.set_axis_off()
    axes.set_title(title, size=style.TITLE, family=style.FONT, loc="left")
    figure.tight_layout()
    return figure
