"""Pictures for the notebooks about Raft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from labkit.views import style


def quorums(n: int, first: Sequence[int] = (), second: Sequence[int] = ()) -> Any:
    """Two majorities of n nodes, the two that share the fewest nodes unless others are given, and
    what they have in common."""
    size = n // 2 + 1
    first, second = list(first) or list(range(size)), list(second) or list(range(n - size, n))
    shared = [node for node in first if node in second]
    figure = style.figure(max(6.0, 1.3 * n), 2.3)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_xlim(-0.9, n - 0.1)
    axes.set_ylim(-1.0, 1.3)
    for members, colour, grow, name, y in (
        (first, style.BLUE, 0.42, "have voted for one", 0.72),
        (second, style.ORANGE, 0.36, "would have to vote for another", -0.78),
    ):
        left, right = min(members) - grow, max(members) + grow
        box = FancyBboxPatch(
            (left, -grow), right - left, 2 * grow, boxstyle="round,pad=0.06", lw=2.5
        )
        box.set(facecolor="none", edgecolor=colour)
        axes.add_patch(box)
        middle = (left + right) / 2
        axes.text(
            middle,
            y,
            name,
            color=style.words(colour),
            fontsize=style.LABEL,
            ha="center",
            va="center",
            weight="bold",
        )
    for node in range(n):
        face = style.GREEN if node in shared else style.PALE
        axes.add_patch(Circle((node, 0), 0.24, facecolor=face, edgecolor=style.INK, lw=1.2))
        ink = "white" if node in shared else style.INK
        axes.text(node, 0, str(node), ha="center", va="center", color=ink, fontsize=style.LABEL)
    who = " and ".join(map(str, shared)) or "nobody"
    plural = "nodes" if len(shared) > 1 else "node"
    axes.text(
        (n - 1) / 2,
        1.1,
        f"Any two majorities of {n} share a node, here {plural} {who}",
        ha="center",
        va="center",
        fontsize=style.TITLE,
        weight="bold",
        color=style.INK,
    )
    return figure


TERMS = (style.PALE, style.SKY, style.ORANGE, style.GREEN, style.PURPLE, style.YELLOW)


def logs(
    terms: Mapping[int, Sequence[int]],
    committed: Mapping[int, int] | None = None,
    title: str = "",
    first: int = 1,
) -> Any:
    """The logs of nodes, one under the other: `terms` of the entries from index `first` on, and up
    to which index each node knows them to be `committed` (a bold line)."""
    last = first - 1 + max((len(log) for log in terms.values()), default=0)
    columns = max(last - first + 1, 1)
    figure = style.figure(min(11.0, max(8.5, 2.0 + 0.62 * columns)), 1.0 + 0.42 * len(terms))
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.84))
    axes.axis("off")
    axes.set_xlim(first - 2.3, last + 1)
    axes.set_ylim(len(terms) + 0.1, -1.0)
    for index in range(first, last + 1):
        axes.text(
            index,
            -0.45,
            str(index),
            ha="center",
            va="center",
            fontsize=style.SMALL,
            color=style.GREY,
        )
    axes.text(
        first - 0.75,
        -0.45,
        "index",
        ha="right",
        va="center",
        fontsize=style.SMALL,
        color=style.GREY,
    )
    for row, (node, log) in enumerate(sorted(terms.items())):
        axes.text(
            first - 0.75, row + 0.4, f"node {node}", ha="right", va="center", fontsize=style.TEXT
        )
        for index, term in enumerate(log, first):
            colour = TERMS[term % len(TERMS)]
            axes.add_patch(Rectangle((index - 0.46, row), 0.92, 0.8, facecolor=colour))
            axes.text(
                index,
                row + 0.4,
                str(term),
                ha="center",
                va="center",
                fontsize=style.TEXT,
                color=style.on(colour),
            )
        if committed is not None and committed[node] >= first:
            x = committed[node] + 0.5
            axes.plot((x, x), (row - 0.05, row + 0.85), color=style.INK, lw=3)
    figure.text(0.5, 0.93, title, ha="center", va="center", fontsize=style.TITLE, weight="bold")
    return figure
