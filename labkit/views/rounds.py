"""Who talks to whom in which round: the tree, halving-doubling, and the mesh beside the ring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.views import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Round = list[tuple[int, int]]
"""Pairs (sender, receiver); two that exchange stand in it both ways."""


def tree_rounds(n: int) -> tuple[list[Round], list[Round]]:
    """A binomial tree: the rounds of the reduce to rank 0, and of the broadcast from it."""
    up = []
    distance = 1
    while distance < n:
        up.append([(r, r - distance) for r in range(n) if r % (2 * distance) == distance])
        distance *= 2
    return up, [[(b, a) for a, b in r] for r in reversed(up)]


def halving_doubling_rounds(n: int) -> tuple[list[Round], list[Round]]:
    """Partners in the reduce-scatter (far first) and in the all-gather (near first).

    Beyond a power of two the ranks left over hand their tensor to a partner before, and get the
    result after.
    """
    inner = 1 << (n.bit_length() - 1)
    distances = [inner >> (i + 1) for i in range(inner.bit_length() - 1)]
    halve = [[(r, r ^ d) for r in range(inner)] for d in distances]
    extra = [(r, r - inner) for r in range(inner, n)]
    double = list(reversed(halve))
    return ([extra] if extra else []) + halve, double + (
        [[(b, a) for a, b in extra]] if extra else []
    )


def tree_diagram(n: int = 8) -> Figure:
    """Up the tree and down again; every arrow is the whole tensor."""
    up, down = tree_rounds(n)
    names = ["S"] * len(up + down)
    return rounds_diagram(n, [("reduce", up), ("broadcast", down)], names)


def halving_doubling_diagram(n: int = 8) -> Figure:
    """Partners of each round; beside it the bytes of each arrow as a share of the tensor S."""
    halve, double = halving_doubling_rounds(n)
    extra = ["S"] if n & (n - 1) else []
    exponents = range(1, len(halve) - len(extra) + 1)
    shares = extra + [f"S/{2**i}" for i in exponents]
    phases = [("reduce-scatter by halving", halve), ("all-gather by doubling", double)]
    return rounds_diagram(n, phases, shares + shares[::-1])


def rounds_diagram(n: int, phases: Sequence[tuple[str, list[Round]]], names: list[str]) -> Figure:
    """Ranks from left to right, rounds from top to bottom, `names` beside the rounds."""
    rounds = [r for _, some in phases for r in some]
    across, down, left, top = min(0.85, 7.0 / n), 0.52, 0.5, 0.4
    right = 2.6
    figure = style.figure(left + across * (n - 1) + right, top + down * len(rounds) + 0.35)
    page = _page(figure)
    for rank in range(n):
        x = left + across * rank
        page.text(x, 0.18, f"rank {rank}" if n <= 8 else rank, ha="center", **_words(style.SMALL))
        page.plot([x, x], [top, top + down * len(rounds)], color=style.PALE, lw=5, zorder=0,
                  solid_capstyle="round")  # fmt: skip
    for i, (some, name) in enumerate(zip(rounds, names, strict=True)):
        y = top + down * i + 0.12
        for source, target in some:
            _arrow(page, left + across * source, left + across * target, y, y + down - 0.24)
        x = left + across * (n - 1) + 0.32
        page.text(x, y + down / 2 - 0.12, name, ha="left", **_words(style.TEXT))
    _name_phases(page, phases, left + across * (n - 1) + 0.85, top, down)
    return figure


def _name_phases(
    page: Any, phases: Sequence[tuple[str, list[Round]]], x: float, top: float, down: float
) -> None:
    at = top
    for (name, some), colour in zip(phases, (style.BLUE, style.GREEN), strict=False):
        end = at + down * len(some)
        page.plot([x, x], [at + 0.08, end - 0.08], color=colour, lw=2.5)
        words = {**_words(style.TEXT), "color": style.words(colour), "weight": "bold"}
        lines = name.replace(" by ", "\nby ")
        page.text(x + 0.12, (at + end) / 2, lines, ha="left", **words)
        at = end


def _arrow(page: Any, a: float, b: float, top: float, bottom: float) -> None:
    look = {"arrowstyle": "-|>", "color": style.INK, "lw": 1.3, "mutation_scale": 9}
    drawn = page.annotate(
        "", (b, bottom), (a, top), arrowprops={**look, "shrinkA": 0, "shrinkB": 0}
    )
    drawn.set_gid("message")


# ---- mesh and ring -----------------------------------------------------------------------------


def mesh_and_ring(n: int = 8) -> Figure:
    """n(n-1)/2 connections beside n: the mesh of all pairs, and the ring."""
    size = 3.3
    figure = style.figure(2 * size + 0.8, size + 0.75)
    page = _page(figure)
    ring = [(r, (r + 1) % n) for r in range(n if n > 2 else n - 1)]
    mesh = [(a, b) for a in range(n) for b in range(a + 1, n)]
    for i, (name, pairs) in enumerate((("mesh", mesh), ("ring", ring))):
        x, y, radius = 0.2 + size / 2 + i * (size + 0.4), 0.6 + size / 2, size / 2 - 0.3
        spots = [_on_circle(x, y, radius, r, n) for r in range(n)]
        for a, b in pairs:
            (x0, y0), (x1, y1) = spots[a], spots[b]
            line = page.plot(
                [x0, x1], [y0, y1], color=style.BLUE if i else "#9A9A9A", lw=2 if i else 1.1
            )
            line[0].set_gid(name)
        for rank, (px, py) in enumerate(spots):
            page.plot(px, py, "o", ms=19, color=style.rank_colour(rank), mec=style.PAPER, mew=1.5)
            page.text(
                px, py, rank, ha="center", **{**_words(style.TEXT), "weight": "bold"}
            ).set_color(style.on(style.rank_colour(rank)))
        words = {**_words(style.LABEL), "weight": "bold"}
        plural = "" if len(pairs) == 1 else "s"
        page.text(x, 0.25, f"{name}: {len(pairs)} connection{plural}", ha="center", **words)
    return figure


def _on_circle(x: float, y: float, radius: float, rank: int, n: int) -> tuple[float, float]:
    angle = 2 * math.pi * rank / n - math.pi / 2
    return x + radius * math.cos(angle), y + radius * math.sin(angle)


def _page(figure: Any) -> Any:
    """Axes in inches over the whole figure, y downwards."""
    width, height = figure.get_size_inches()
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, width), ylim=(height, 0))
    page.set_axis_off()
    return page


def _words(size: float) -> dict[str, Any]:
    return {"size": size, "family": style.FONT, "color": style.INK, "va": "center_baseline"}
