"""Axes in the lab's style, with words at the end of each line in place of a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.views import style
from labkit.views.labels import height_of, spread, width_of


def chart(
    title: str = "",
    x: str = "",
    y: str = "",
    size: tuple[float, float] = (8.0, 4.0),
    right: float = 0.3,
    left: float = 0.85,
) -> tuple[Any, Any]:
    """A figure with one set of axes; `size`, and the margins `left` and `right`, in inches."""
    figure = style.figure(*size)
    axes = panel(figure, (left, 0.62, size[0] - left - right, size[1] - 0.62 - 0.5))
    dress(axes, title, x, y)
    return figure, axes


def panel(figure: Any, box: tuple[float, float, float, float]) -> Any:
    """Axes at `(left, bottom, width, height)` in inches."""
    width, height = figure.get_size_inches()
    return figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))


def dress(axes: Any, title: str, x: str, y: str) -> None:
    """The finding as the title, words on both axes, no box."""
    style.plain_axes(axes)
    font = {"family": style.FONT}
    axes.set_title(title, fontsize=style.TITLE, weight="bold", loc="left", pad=10, **font)
    axes.set_xlabel(x, fontsize=style.LABEL, **font)
    axes.set_ylabel(y, fontsize=style.LABEL, **font)


def margin_for(names: Sequence[str]) -> float:
    """Inches to the right of the axes for `label_ends`."""
    return 0.2 + max((width_of(n, weight="bold") for n in names), default=0.0)


def label_ends(axes: Any, ends: Sequence[tuple[float, str, str]]) -> None:
    """Writes `(y in data, text, colour)` to the right of the axes, none over another.

    To be called when the limits and scales of the axes are final.
    """
    box, height = axes.get_position(), axes.figure.get_size_inches()[1]
    inches = (box.y1 - box.y0) * height
    wanted = [axes.transData.transform((axes.get_xlim()[0], y))[1] for y, _, _ in ends]
    low, high = axes.transAxes.transform([(0, 0), (0, 1)])[:, 1]
    shares = [(w - low) / (high - low) for w in wanted]
    gap = height_of(style.TEXT) / inches
    for place, (_, text, colour) in zip(spread(shares, gap, 0.0, 1.0), ends, strict=True):
        words = axes.text(
            1.0 + 0.08 / ((box.x1 - box.x0) * axes.figure.get_size_inches()[0]), place, text,
            transform=axes.transAxes, color=style.words(colour), size=style.TEXT, weight="bold",
            family=style.FONT, va="center",
        )  # fmt: skip
        words.set_gid(f"label:{text}")


def bytes_text(count: float) -> str:
    """`64 KiB`, `1 MiB`: powers of 1 024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.3g} {unit}"
        count /= 1024
    raise AssertionError


def seconds_text(seconds: float) -> str:
    """`12 µs`, `3.4 ms`, `1.2 s`."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
