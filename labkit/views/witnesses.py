"""The picture of exercise hosts.3: who wrote down what about whom, with all clocks as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labkit.views import style

MARKS = {
    "connection closed": ("x", style.VERMILION),
    "silence": ("o", style.BLUE),
    "told to end": ("v", style.ORANGE),
}


def witnesses(
    log: Sequence[tuple[int, float, str, int | None]],
    hosts: Mapping[int, str],
    ahead: Mapping[str, float],
    accused: str | None,
    title: str,
) -> Any:
    """A row for each rank, hosts set apart, that of the `accused` shaded; a mark for each entry of
    the log, in seconds since the first, when what each clock is `ahead` has been taken away."""
    ranks = sorted(hosts)
    true = [(rank, time - ahead[hosts[rank]], what, peer) for rank, time, what, peer in log]
    begin = min(time for _, time, _, _ in true)
    figure = style.figure(10.0, 1.3 + 0.3 * len(ranks))
    axes = figure.subplots()
    for rank in ranks:
        if hosts[rank] == accused:
            axes.axhspan(rank - 0.5, rank + 0.5, color=style.FAULT, alpha=0.12, lw=0)
        if rank and hosts[rank] != hosts[rank - 1]:
            axes.axhline(rank - 0.5, color=style.PALE, lw=1)
    for what, (mark, colour) in MARKS.items():
        found = [(time - begin, rank) for rank, time, said, _ in true if said == what]
        if found:
            times, rows = zip(*found, strict=True)
            axes.scatter(times, rows, marker=mark, s=42, color=colour, alpha=0.75, label=what)
    first = min(true, key=lambda entry: entry[1])
    whom = "" if first[3] is None else f" of rank {first[3]}"
    axes.annotate(f"first: {first[2]}{whom}", (0, first[0]), (8, 0), textcoords="offset points",
                  va="center", size=style.SMALL, color=style.INK)  # fmt: skip
    style.plain_axes(axes)
    axes.set_yticks(ranks, [f"{hosts[rank]}  rank {rank}" for rank in ranks])
    axes.set_ylim(len(ranks) - 0.4, -0.6)
    axes.set_xlabel("seconds since the first entry, clocks put right", size=style.LABEL)
    axes.legend(frameon=False, ncols=3, fontsize=style.SMALL, loc="lower right",
                bbox_to_anchor=(1, 1), borderaxespad=0)  # fmt: skip
    axes.set_title(title, size=style.TITLE, family=style.FONT, loc="left")
    figure.tight_layout()
    return figure
