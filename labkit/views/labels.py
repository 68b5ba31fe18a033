"""Where the words of a picture go, so that none lies on another and none is cut off.

All lengths are inches on the page, x to the right and y down. Text is measured before anything is
drawn: the height of a picture follows from how many rows its labels need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from labkit.views.style import FONT, TEXT

GAP = 0.07
"""Inches of air between two labels."""


@lru_cache(maxsize=4096)
def width_of(text: str, size: float = TEXT, weight: str = "normal") -> float:
    """Inches that a line of text takes."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=FONT, size=size, weight=weight)
    ruler = RendererAgg(8, 8, 100)
    return (
        max(ruler.get_text_width_height_descent(line, font, False)[0] for line in _lines(text))
        / 100
    )


def _lines(text: str) -> list[str]:
    return text.split("\n") or [""]


def height_of(size: float = TEXT) -> float:
    """Inches from one line of text to the next."""
    return 1.25 * size / 72


@dataclass(frozen=True)
class Hanging:
    """A label on a bar at `anchor` that may hang in any row, right or left of its bar."""

    anchor: float
    width: float


Spots = list[tuple[float, int] | None]


def pack(labels: list[Hanging], left: float, right: float, rows: int) -> Spots:
    """The left edge and the row of each label, None for one that finds no room.

    A bar reaches through all rows down to its label's own, so no label should lie on a bar that
    goes deeper. Going from right to left leaves later bars short and earlier ones long; a label
    that must stand left of its bar goes as deep as it takes. Only where there is no other room may
    a bar pass behind a label; two labels never touch.
    """
    best: Spots = []
    least = len(labels) + 1, 0
    for deep in range(rows):
        placed = _place(labels, left, right, rows, deep)
        spots = [(p.left, p.row) if p else None for p in placed]
        here = [p for p in placed if p]
        crossed = sum(p.crosses(q) for i, p in enumerate(here) for q in here[:i])
        if (spots.count(None), crossed) < least:
            best, least = spots, (spots.count(None), crossed)
        if least == (0, 0):
            break
    return best


def _place(
    labels: list[Hanging], left: float, right: float, rows: int, deep: int
) -> list[_Placed | None]:
    placed: list[_Placed | None] = [None] * len(labels)
    for i in sorted(range(len(labels)), key=lambda i: -labels[i].anchor):
        bar, width = labels[i].anchor, labels[i].width
        others = [p for p in placed if p]
        spots = [(bar + GAP / 2, row) for row in range(rows)]
        for edge in (bar - GAP / 2 - width, right - width, left):
            spots += [(edge, row) for row in range(deep, rows)]
        inside = [
            _Placed(a, a + width, row, bar) for a, row in spots if _within(a, width, left, right)
        ]
        free = [p for p in inside if not any(p.touches(q) for q in others)]
        clear = [p for p in free if not any(p.crosses(q) for q in others)]
        placed[i] = next(iter([*clear, *free]), None)
    return placed


def _within(a: float, width: float, left: float, right: float) -> bool:
    return left <= a and a + width <= right + 1e-9


@dataclass(frozen=True)
class _Placed:
    left: float
    right: float
    row: int
    bar: float

    def touches(self, other: _Placed) -> bool:
        near = self.left < other.right + GAP and other.left < self.right + GAP
        return self.row == other.row and near

    def crosses(self, other: _Placed) -> bool:
        """Does the bar of one pass through the label of the other?"""
        low, high = (self, other) if self.row >= other.row else (other, self)
        if self.row == other.row:
            return self._holds(other.bar) or other._holds(self.bar)
        return high._holds(low.bar)

    def _holds(self, bar: float) -> bool:
        return self.left - GAP / 4 < bar < self.right + GAP / 4


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Positions close to the wanted ones, in their order, at least `gap` apart and in bounds.

    Of two that want the same the first gets the higher one.
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], -i))
    found = [0.0] * len(wanted)
    at = low - gap
    for i in order:
        at = found[i] = max(wanted[i], at + gap)
    at = high + gap
    for i in reversed(order):
        at = found[i] = min(found[i], at - gap)
    return found


@dataclass
class Page:
    """Where words already are: boxes of left, top, right and bottom. (`panel/static/labels.js` has
    the same for the live diagram, in pixels.)"""

    left: float
    right: float
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)

    def free(self, box: tuple[float, float, float, float]) -> bool:
        a, top, b, bottom = box
        if a < self.left or b > self.right:
            return False
        return not any(
            a < x1 + GAP / 2 and x0 < b + GAP / 2 and top < y1 and y0 < bottom
            for x0, y0, x1, y1 in self.boxes
        )

    def first_free(
        self, spots: list[tuple[float, float]], width: float, height: float
    ) -> tuple[float, float] | None:
        """The first spot (left edge, middle) at which there is room for a box of that size."""
        for x, y in spots:
            if self.free((x, y - height / 2, x + width, y + height / 2)):
                return x, y
        return None
