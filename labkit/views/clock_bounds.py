"""The picture of exercise hosts.2: what each question tells of another clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.views import style


def clock_bounds(questions: Sequence[tuple[float, float, float]], apart: float, title: str) -> Any:
    """A bar for each (asked, there, answered): how far the clock there may be ahead. And a line at
    `apart`, by which the stamps differ: with a clock as far ahead as that, both events are at the
    same time. In milliseconds from the middle of the shortest bar."""
    shortest = min(questions, key=lambda question: question[2] - question[0])
    middle = shortest[1] - (shortest[0] + shortest[2]) / 2
    figure = style.figure(8.0, 1.5 + 0.24 * len(questions))
    axes = figure.subplots()
    for place, (asked, there, answered) in enumerate(questions):
        begin, end = 1e3 * (there - answered - middle), 1e3 * (there - asked - middle)
        axes.barh(place, end - begin, left=begin, height=0.55, color=style.SKY)
    edge = 1e3 * max(answered - asked for asked, _, answered in questions)
    line = 1e3 * (apart - middle)
    outside = abs(line) > 2 * edge
    shown = max(-2 * edge, min(2 * edge, line))
    axes.axvline(shown, color=style.FAULT, lw=2, ls=":" if outside else "-")
    far = f" ({line / 1e3:+.3g} s)" if outside else ""
    side = "right" if shown > 0 else "left"
    axes.text(shown, -0.9, f" the stamps' difference{far} ", ha=side, va="bottom",
              size=style.SMALL, color=style.FAULT)  # fmt: skip
    style.plain_axes(axes)
    axes.set_yticks(range(len(questions)), [f"question {i + 1}" for i in range(len(questions))])
    axes.set_ylim(len(questions) - 0.4, -1.4)
    axes.set_xlabel("milliseconds that their clock may be ahead, from the middle of the shortest",
                    size=style.LABEL)  # fmt: skip
    axes.set_title(title, size=style.TITLE, family=style.FONT, loc="left")
    figure.tight_layout()
    return figure
