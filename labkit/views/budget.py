"""The picture of an exercise with a budget: what each choice costs, and where yours lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.views import style


def within_budget(curve: Sequence[tuple[int, float]], chosen: int, slack: float, most: int) -> Any:
    """`curve` are (capacity in bytes, seconds); what is within `slack` of the best is shaded."""
    figure = style.figure(9.0, 3.4)
    axes = figure.subplots()
    sizes = [size / 1024 for size, _ in curve]
    times = [1e3 * seconds for _, seconds in curve]
    best, cost = min(times), None
    axes.axhspan(best, slack * best, color=style.GREEN, alpha=0.18, lw=0)
    axes.plot(sizes, times, color=style.BLUE, lw=2)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    if chosen:
        near = min(curve, key=lambda pair: abs(pair[0] - chosen))
        cost = 1e3 * near[1]
        kept = cost <= slack * best and chosen <= most
        colour = style.GREEN if kept else style.VERMILION
        axes.scatter([chosen / 1024], [cost], s=60, marker="D", color=colour, zorder=3)
    style.plain_axes(axes)
    axes.set_xlabel("KiB in a bucket", size=style.LABEL, family=style.FONT)
    axes.set_ylabel("ms until all is there", size=style.LABEL, family=style.FONT)
    said = "" if cost is None else f"; yours, {chosen / 1024:.0f} KiB: {cost:.1f} ms"
    axes.set_title(
        f"The best takes {best:.1f} ms, the budget is {slack * best:.1f} ms{said}",
        size=style.TITLE, family=style.FONT, loc="left",
    )  # fmt: skip
    figure.tight_layout()
    return figure
