"""The picture of an exercise's check: what was expected beside what came out."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from labkit.checks import Case
from labkit.views import style

MOST_VALUES = 4096
ROWS = 6
COLUMNS, WIDTHS = (0.01, 0.45, 0.73), (50, 32, 32)
"""Of a table: where its columns begin, in parts of the width, and their characters."""


def expected_beside_got(cases: Sequence[Case]) -> Any:
    """Numbers as pairs of points per case, an array as two strips, anything else as a table of what
    differs; None where there is nothing of it."""
    from labkit.check import difference

    pairs = [(as_array(case.expected), as_array(case.got)) for case in cases]
    if not pairs or any(a is None or b is None for a, b in pairs):
        return table([case for case in cases if difference(case.expected, case.got)][:ROWS])
    if all(a.ndim == 0 and b.ndim == 0 for a, b in pairs):
        return points([float(a) for a, _ in pairs], [float(b) for _, b in pairs])
    wrong = [p for p in pairs if p[0].shape != p[1].shape or not np.allclose(*p, equal_nan=True)]
    return strips(*(wrong or pairs)[0])


def as_array(value: Any) -> Any:
    """A number, a list of numbers, an array or a tensor as an array of floats; None if it is not.

    Arrays of more than two dimensions are laid out as one row per first index.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError, OverflowError):
        return None
    if array.size == 0 or array.size > MOST_VALUES:
        return None
    return array if array.ndim <= 2 else array.reshape(len(array), -1)


def points(expected: Sequence[float], got: Sequence[float]) -> Any:
    figure = style.figure(7.0, 2.6)
    axes = figure.subplots()
    places = np.arange(len(expected))
    agree = np.isclose(expected, got, equal_nan=True)
    axes.vlines(places, expected, got, color=style.PALE, lw=6, zorder=1)
    axes.scatter(places, expected, s=130, facecolor="none", edgecolor=style.INK, label="expected")
    colours = [style.GREEN if a else style.VERMILION for a in agree]
    axes.scatter(places, got, s=45, color=colours, marker="D", label="yours", zorder=3)
    axes.set_xticks(places, [f"case {i + 1}" for i in places])
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{agree.sum()} of {len(agree)} agree", fontsize=style.TITLE, loc="left")
    axes.legend(frameon=False, fontsize=style.SMALL, ncols=2, loc="lower right", borderaxespad=0,
                bbox_to_anchor=(1, 1))  # fmt: skip
    return figure


def strips(expected: Any, got: Any) -> Any:
    """One strip above the other in one colour scale, cells that differ outlined."""
    rows = [np.atleast_2d(expected), np.atleast_2d(got)]
    height = 1.2 + 0.35 * sum(min(len(r), 8) for r in rows)
    figure = style.figure(7.0, height)
    both = np.concatenate([row.ravel() for row in rows])  # one of them may be nothing but NaN
    low, high = np.nanmin(both), np.nanmax(both)
    for i, (name, row) in enumerate(zip(("expected", "yours"), rows, strict=True)):
        axes = figure.add_subplot(2, 1, i + 1)
        axes.imshow(row, aspect="auto", cmap="cividis", vmin=low, vmax=high or 1)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=style.LABEL)
        axes.set_yticks([])
        if i == 0:
            axes.set_xticks([])
        elif rows[0].shape == row.shape:
            outline(axes, ~np.isclose(rows[0], row, equal_nan=True))
    return figure


def table(wrong: Sequence[Case]) -> Any:
    """A line for each wrong case: what was drawn, what is right, and yours. Of two dictionaries
    only the entries that differ."""
    if not wrong:
        return None
    figure = style.figure(9.0, 0.5 + 0.3 * len(wrong))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 1)
    axes.set_ylim(len(wrong) + 0.2, -1)
    axes.axis("off")
    lines = [("drawn", "expected", "yours")]
    for case in wrong:
        expected, got = case.expected, case.got
        if isinstance(expected, dict) and isinstance(got, dict):
            keys = [key for key in expected if expected[key] != got.get(key)]
            expected = {key: expected[key] for key in keys}
            got = {key: got.get(key) for key in keys}
        drawn = ", ".join(map(repr, case.arguments))
        lines.append((drawn, repr(expected), repr(got)))
    colours = (style.INK, style.GREEN, style.VERMILION)
    for y, line in enumerate(lines, -1):
        for x, words, most, colour in zip(COLUMNS, line, WIDTHS, colours, strict=True):
            text = shorten(words, most, placeholder=" …") if y >= 0 else words
            size, colour = (style.SMALL, colour) if y >= 0 else (style.LABEL, style.INK)
            axes.text(x, y + 0.5, text, size=size, color=colour, va="center", parse_math=False)
    return figure


def outline(axes: Any, cells: Any) -> None:
    for y, x in np.argwhere(cells):
        corner = (x - 0.5, y - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=style.VERMILION, lw=2))
