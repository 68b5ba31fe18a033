"""The picture of exercise cluster.1: where the token should have been, and where it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.checks import Case
from labkit.views import style

HOME = "rank 0 returns"
"""Under which name a case has the token that came home."""


def token_picture(cases: Sequence[Case]) -> Any:
    """A panel per case: the token that the first rank returns which returns a wrong one, hop after
    hop; if all are right, the one that came home to rank 0."""
    figure = style.figure(11.0, 0.6 + 1.5 * len(cases))
    panels = figure.subplots(len(cases), 1, squeeze=False)[:, 0]
    for axes, case in zip(panels, cases, strict=True):
        ranks = int(case.arguments[0])
        returns = [name for name in case.expected if name.endswith("returns")]
        name = next((n for n in returns if case.got.get(n) != case.expected[n]), HOME)
        path, got = case.expected[name], case.got.get(name)
        shown = [x for x in got if isinstance(x, int)] if isinstance(got, list) else []
        axes.step(range(len(path)), path, where="mid", color=style.PALE, lw=2, zorder=1)
        axes.scatter(
            range(len(path)), path, s=120, facecolor="none", edgecolor=style.INK, label="expected"
        )
        right = [i < len(path) and x == path[i] for i, x in enumerate(shown)]
        colours = [style.GREEN if ok else style.FAULT for ok in right]
        axes.scatter(
            range(len(shown)), shown, s=42, c=colours or None, marker="D", label="yours", zorder=3
        )
        style.plain_axes(axes)
        axes.set_yticks(range(ranks), [f"rank {rank}" for rank in range(ranks)])
        axes.set_ylim(ranks - 0.5, -0.5)
        axes.set_xticks([])
        laps, home = case.arguments[1], sum(right)
        axes.set_title(
            f"{ranks} ranks, {laps} laps: {name} a token with {home} of {len(path)} stamps right",
            size=style.TEXT, family=style.FONT, loc="left",
        )  # fmt: skip
    panels[-1].set_xlabel("hop", size=style.LABEL, family=style.FONT)
    figure.tight_layout()
    return figure
