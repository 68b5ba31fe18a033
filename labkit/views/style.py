"""What every picture of the lab has in common: colours with a fixed meaning, sizes, the figure.

The colours are those of M. Okabe and K. Ito, "Color Universal Design" (2008), which people with
any kind of colour vision can tell apart; a colour means one thing in every picture. Where two
things could still be confused, a hatch or an outline tells them apart without colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.views.canvas import LabFigure

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
INK, GREY, PALE, PAPER = "#222222", "#6B6B6B", "#E4E4E4", "#FFFFFF"

FAULT, VIEW, CHECKPOINT, MESSAGE = VERMILION, BLUE, GREEN, INK

FONT = "DejaVu Sans"  # comes with matplotlib, so a picture is the same everywhere

# Points. The smallest is still legible when a notebook shrinks a picture to the width of its cell.
TITLE, LABEL, TEXT, SMALL = 12.0, 10.5, 10.0, 9.0

DPI = 150
"""Dots per inch of the PNG. A notebook's cell is about 1 100 pixels wide and shrinks what is wider:
text stays sharp on a projector and on a fine screen."""

PIXELS = 90
"""Pixels that an inch takes on a page: 11 inches, the widest pictures, fill a notebook's cell."""


@dataclass(frozen=True)
class Look:
    """How an activity is drawn; `label` is its entry in the legend."""

    label: str
    colour: str
    hatch: str = ""
    hatch_colour: str = PAPER


WAITING = "waiting"

# By the name of the span. Two names with one look are one thing to the reader.
LOOKS = {
    "computing": Look("computing", SKY),
    "all reduce": Look("all-reduce", ORANGE),
    "reduce scatter": Look("reduce-scatter", "#B87A00"),
    "all gather": Look("all-gather", "#F3C766"),
    "collective": Look("other collective", "#8A5A00"),
    WAITING: Look("waiting on a silent peer", "#D9D9D9", "////", "#8C8C8C"),
    "restoring": Look("restoring", PURPLE),
    "forming group": Look("forming a group", "#8E4A73"),
    "agreeing": Look("agreeing on a view", "#9CC3DE"),
    "checkpoint": Look("checkpoint", GREEN),
    "paused": Look("paused", PAPER),
    "redone": Look("work done again", SKY, "////", INK),
}

# What a node is in a protocol. Never in one lane with an activity of training.
ROLES = {
    "follower": Look("follower", "#DCE9F2"),
    "candidate": Look("candidate", ORANGE),
    "leader": Look("leader", BLUE),
}

_SAME = {
    "allreduce": "all reduce",
    "compute": "computing",
    "forward": "computing",
    "backward": "computing",
    "broadcast": "collective",
    "reduce": "collective",
    "gather": "collective",
    "scatter": "collective",
    "barrier": "collective",
    "restore": "restoring",
    "saving": "checkpoint",
    "forming a group": "forming group",
    "form group": "forming group",
    "waiting on a silent peer": WAITING,
    "agree": "agreeing",
    "regroup": "agreeing",
    "agreeing on a view": "agreeing",
}

BACKGROUND = frozenset({"run"})
"""Spans that last from end to end and say nothing about a moment: not drawn."""

COLLECTIVES = frozenset({"all reduce", "reduce scatter", "all gather", "collective"})

# Colours left for spans that the lab has no word for, in the order in which they are met.
SPARE = (YELLOW, "#44AA99", "#BBBBBB", "#AA4499", "#999933", "#332288", "#882255", "#117733")


def activity(name: str) -> str:
    """The one word for what a span's name says: `all_reduce` and `all-reduce` are the same."""
    word = name.replace("_", " ").replace("-", " ").strip().lower()
    return _SAME.get(word, word)


def looks(activities: list[str]) -> dict[str, Look]:
    """The look of each activity, unknown ones with a spare colour in order of appearance."""
    known = LOOKS | ROLES
    unknown = [a for a in activities if a not in known]
    spare = {a: Look(a, SPARE[i % len(SPARE)]) for i, a in enumerate(unknown)}
    return {a: known.get(a) or spare[a] for a in activities}


# Of ranks, as thin lines on white paper and on the black of a dark theme: all have a contrast of 3
# or more with both (WCAG 2.1, 1.4.11), which the palette's orange, sky and yellow have not.
RANKS = (BLUE, "#745E3A", GREEN, VERMILION, "#0590FB", PURPLE, "#969550", "#8632FE")


def rank_colour(rank: int) -> str:
    """A colour per rank, for curves and chunks, the same in every picture: eight, then again."""
    return RANKS[rank % len(RANKS)]


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1 (W3C, "Web Content Accessibility Guidelines" 2.1)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def on(colour: str) -> str:
    """Ink or paper, whichever is legible on a colour."""
    return INK if luminance(colour) > 0.22 else PAPER


def words(colour: str) -> str:
    """A colour dark enough for words on paper: a contrast of 4.5 or more (same source)."""
    while 1.05 / (luminance(colour) + 0.05) < 4.5:
        colour = "#" + "".join(f"{int(int(colour[i : i + 2], 16) * 0.95):02x}" for i in (1, 3, 5))
    return colour


def figure(width: float = 11.0, height: float = 5.0) -> LabFigure:
    """An empty white figure of that many inches whose PNG stays small (see `canvas`)."""
    from labkit.views.canvas import LabFigure

    return LabFigure(figsize=(width, height))


def plain_axes(axes: Any) -> None:
    """No frame above and to the right, and the lab's font on the ticks."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=TEXT, labelfontfamily=FONT)
