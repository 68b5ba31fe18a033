"""The page on which a run is drawn: where each second and each rank is, in inches.

The page is laid out from top to bottom before anything is drawn, because its height follows from
how many rows the labels need. Then there are two sets of axes: `page` in inches over the whole
figure, for words, and `lanes` in seconds and inches, for everything that has a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labkit.views import style
from labkit.views.history import History, Message
from labkit.views.labels import Page, height_of, width_of

MARGIN = 0.1
"""Inches of white around everything."""


@dataclass
class Sheet:
    """`left` and `right` bound the lanes; `y` of a lane is its middle. Inches, y downwards."""

    past: History
    begin: float
    end: float
    width: float
    left: float
    right: float
    top: float = 0.0  # of the lanes' area, with the rows of labels above it
    first: float = 0.0  # middle of the first lane
    bottom: float = 0.0  # of the lanes' area, with the rows of labels below it
    height: float = 0.0
    words: Page = field(default_factory=lambda: Page(0, 0))
    arrows: list[Message] = field(default_factory=list)  # the messages that are drawn
    figure: Any = None
    page: Any = None
    lanes: Any = None

    @property
    def pitch(self) -> float:
        """From the middle of one lane to the next: less where there are many."""
        return min(0.48, max(0.26, 3.4 / max(1, len(self.past.ranks))))

    @property
    def thickness(self) -> float:
        return 0.58 * self.pitch

    @property
    def floor(self) -> float:
        """Below the last lane, where the labels of moments begin."""
        return self.last + self.pitch / 2 + 0.02

    @property
    def last(self) -> float:
        return self.first + self.pitch * (len(self.past.ranks) - 1)

    def y(self, rank: int) -> float:
        return self.first + self.pitch * self.past.ranks.index(rank)

    def x(self, time: float) -> float:
        """Inches from the page's left edge."""
        share = (time - self.begin) / (self.end - self.begin)
        return self.left + share * (self.right - self.left)

    def time(self, x: float) -> float:
        share = (x - self.left) / (self.right - self.left)
        return self.begin + share * (self.end - self.begin)

    @property
    def pixel(self) -> float:
        """Seconds that one pixel is wide on a screen that shows 100 of them for an inch."""
        return (self.end - self.begin) / (self.right - self.left) / 100

    def shows(self, time: float) -> bool:
        return self.begin <= time <= self.end

    # -- drawing

    def title_bottom(self, title: str | None) -> float:
        return MARGIN + (height_of(style.TITLE) + 0.08 if title else 0.0)

    def open(self, height: float, title: str | None) -> None:
        """Makes the figure, now that its height is known."""
        self.height = height
        self.figure = style.figure(self.width, height)
        self.page = self.figure.add_axes((0, 0, 1, 1))
        self.page.set(xlim=(0, self.width), ylim=(height, 0))
        self.page.set_axis_off()
        self.page.set_zorder(2)
        self.page.patch.set_visible(False)
        self.lanes = self.axes(self.top, self.bottom)
        self.lanes.set(ylim=(self.bottom, self.top))
        self.lanes.set_axis_off()
        self.lanes.set_gid("lanes")
        if title:
            how = {"size": style.TITLE, "weight": "bold", "ha": "center", "gid": "title"}
            self.write(self.width / 2, MARGIN + height_of(style.TITLE) / 2, title, **how)

    def axes(self, top: float, bottom: float) -> Any:
        """Axes below each other share the seconds from left to right."""
        box = (
            self.left / self.width,
            1 - bottom / self.height,
            (self.right - self.left) / self.width,
            (bottom - top) / self.height,
        )
        axes = self.figure.add_axes(box)
        axes.set_xlim(self.begin, self.end)
        return axes

    def write(self, x: float, y: float, text: str, **how: Any) -> Any:
        """One line of text on the page with its middle at `y`; its place is then taken."""
        how = {"size": style.TEXT, "color": style.INK, "va": "center_baseline", **how}
        label = self.page.text(x, y, text, family=style.FONT, **how)
        label.set_gid(how.get("gid") or f"label:{text}")
        size = how["size"]
        if size == style.SMALL:
            halo(label)
        wide, high = width_of(text, size, how.get("weight", "normal")), height_of(size) * 0.9
        left = x - wide * {"left": 0.0, "center": 0.5, "right": 1.0}[how.get("ha", "left")]
        self.words.boxes.append((left, y - high / 2, left + wide, y + high / 2))
        return label

    def place(
        self, spots: list[tuple[float, float]], text: str, size: float = style.SMALL, **how: Any
    ) -> bool:
        """Writes at the first free of several spots (left edge, middle); False if none is free."""
        spot = self.words.first_free(spots, width_of(text, size), height_of(size) * 0.9)
        if spot is None:
            return False
        self.write(*spot, text, size=size, **how)
        return True


def new_sheet(
    past: History, seconds: tuple[float, float], width: float, right_margin: float = 0.3
) -> Sheet:
    """A page `width` inches wide for the given seconds, with room for the lanes' names."""
    widest = max((width_of(lane_name(past, r), style.LABEL) for r in past.ranks), default=0.5)
    left = MARGIN + widest + 0.12
    sheet = Sheet(past, *seconds, width, left, width - right_margin)
    sheet.words = Page(MARGIN / 2, width - MARGIN / 2)
    return sheet


def halo(label: Any) -> None:
    """A thin rim of paper around letters that may lie on something."""
    from matplotlib.patheffects import withStroke

    label.set_path_effects([withStroke(linewidth=2.0, foreground=style.PAPER)])


def lane_name(past: History, rank: int) -> str:
    return "witness" if rank in past.witnesses else f"rank {rank}"
