"""Pictures for the notebooks about Raft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.patches import Circle, FancyBboxPatch

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
