"""Transactions as lifelines: a lane for each node, coloured by what its disk says, an arrow for
each message, a cross for each death."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.patches import Rectangle

from labkit.views import style


class Band(NamedTuple):
    """What a lane is from one time to another, in seconds: a word of `LOOKS`."""

    lane: int
    begin: float
    end: float
    state: str


class Arrow(NamedTuple):
    """A message from lane to lane. What was lost has no `received`."""

    sender: int
    to: int
    sent: float
    received: float | None
    word: str


class Lifelines(NamedTuple):
    """`names` are those of the lanes, `crosses` and `faults` times: of deaths, by lane, and of all
    else that was injected, with its name."""

    names: Sequence[str]
    bands: Sequence[Band]
    arrows: Sequence[Arrow]
    crosses: Sequence[tuple[int, float]] = ()
    faults: Sequence[tuple[float, str]] = ()


LOOKS = {
    "working": (style.PALE, ""),
    "asking": (style.SKY, ""),
    "in doubt": (style.YELLOW, "////"),
    "precommitted": ("#A6DBCB", ""),
    "committed": (style.GREEN, ""),
    "aborted": ("#5B5B5B", ""),
    "dead": (style.PAPER, ""),
}

NAMES = {"working": "nothing on the disk", "asking": "asks (in memory)"}
"""In the legend."""

QUESTION = "?"
"""The word of a message that asks what became of it: thin, since there are many."""


def lifelines(run: Lifelines, span: tuple[float, float], title: str = "") -> Any:
    """One transaction in full, with the words of its messages."""
    room = 0.2 if run.faults else 0.0
    height = 1.1 + room + 0.62 * len(run.names)
    figure = style.figure(11.0, height)
    axes = figure.add_axes((0.1, 0.5 / height, 0.88, 1 - (1.15 + room) / height))
    draw(axes, run, span)
    write(axes, run, span)
    axes.set_xlabel("seconds", fontsize=style.LABEL, family=style.FONT, labelpad=1)
    legend(figure, [run], 1 - 0.52 / height)
    _title(figure, title, height)
    return figure


def crashes(runs: Mapping[str, Lifelines], span: tuple[float, float], title: str = "") -> Any:
    """Many runs of one transaction, two in a row, each under its own heading."""
    rows = (len(runs) + 1) // 2
    lanes = max(len(run.names) for run in runs.values())
    panel = 0.62 + 0.3 * lanes
    height = 0.95 + panel * rows
    figure = style.figure(11.0, height)
    for place, (heading, run) in enumerate(runs.items()):
        row, column = divmod(place, 2)
        bottom = (height - 0.8 - panel * (row + 1) + 0.22) / height
        left = 0.11 if column == 0 else 0.53
        axes = figure.add_axes((left, bottom, 0.41, (panel - 0.52) / height))
        draw(axes, run, span, names=column == 0)
        axes.set_title(
            heading, fontsize=style.TEXT, family=style.FONT, weight="bold", loc="left", pad=3
        )
        if row < rows - 1:
            axes.set_xticklabels([])
    figure.text(0.52, 0.08 / height, "seconds", ha="center", fontsize=style.TEXT)
    legend(figure, list(runs.values()), 1 - 0.5 / height)
    _title(figure, title, height)
    return figure


def draw(axes: Any, run: Lifelines, span: tuple[float, float], names: bool = True) -> None:
    lanes = len(run.names)
    axes.set(xlim=span, ylim=(lanes - 0.45, -0.55))
    for lane in range(lanes):
        axes.axhline(lane, color="#B5B5B5", lw=0.8, zorder=1)
    for lane, begin, end, state in run.bands:
        colour, hatch = LOOKS[state]
        if state != "dead":
            box = Rectangle((begin, lane - 0.19), end - begin, 0.38, facecolor=colour, zorder=2)
            box.set(lw=0, hatch=hatch, edgecolor="#8A6D00", gid=f"{state}:{lane}")
            axes.add_patch(box)
    for arrow in run.arrows:
        if span[0] <= arrow.sent < span[1]:
            _arrow(axes, arrow)
    for lane, time in run.crosses:
        axes.plot(time, lane, "X", color=style.FAULT, ms=11, mec="white", mew=1.2, zorder=6)
    for time, name in run.faults:
        axes.axvline(time, color=style.FAULT, lw=2, zorder=5)
        axes.text(time, -0.6, name, ha="center", va="bottom", fontsize=style.SMALL).set(
            color=style.words(style.FAULT), family=style.FONT
        )
    axes.set_yticks(range(lanes), run.names if names else [""] * lanes)
    style.plain_axes(axes)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)


def _arrow(axes: Any, arrow: Arrow) -> None:
    down, start, goal = _ends(arrow)
    lost = arrow.received is None
    end = arrow.received
    if end is None:  # as far as the next lane
        end, goal = arrow.sent + 0.04, start + 0.35 * down
    asks = arrow.word == QUESTION
    colour = "#9A9A9A" if asks else style.FAULT if lost else style.MESSAGE
    axes.annotate(
        "",
        xy=(end, goal),
        xytext=(arrow.sent, start),
        arrowprops={
            "arrowstyle": "-|>,head_length=0.35,head_width=0.16" if not lost else "-",
            "color": colour,
            "linewidth": 0.7 if asks else 1.1,
            "linestyle": ":" if lost else "-",
            "shrinkA": 0,
            "shrinkB": 0,
        },
        zorder=3,
    )


def _ends(arrow: Arrow) -> tuple[int, float, float]:
    """Its direction, and where it begins and ends: at the edges of the bands."""
    down = 1 if arrow.to > arrow.sender else -1
    return down, arrow.sender + 0.19 * down, arrow.to - 0.19 * down


def write(axes: Any, run: Lifelines, span: tuple[float, float]) -> None:
    """The words of the messages, to the left of what goes down and to the right of what goes up;
    on the other side, or nowhere, where another word stands already."""
    from matplotlib.patheffects import withStroke

    letter = 0.0086 * (span[1] - span[0])  # its width, about
    taken: list[tuple[float, float, float]] = []
    for arrow in sorted(run.arrows, key=lambda arrow: arrow.sent):
        if arrow.received is None or arrow.word == QUESTION or not span[0] <= arrow.sent < span[1]:
            continue
        down, start, goal = _ends(arrow)
        y = max(arrow.sender, arrow.to) - 0.5  # between two lanes, where nothing else stands
        x = arrow.sent + (arrow.received - arrow.sent) * (y - start) / (goal - start)
        width = letter * (len(arrow.word) + 1)
        left, right = (x - width, "right", f"{arrow.word} "), (x, "left", f" {arrow.word}")
        for begin, side, word in (left, right) if down > 0 else (right, left):
            if not any(y == o and begin < end and b < begin + width for o, b, end in taken):
                taken.append((y, begin, begin + width))
                axes.text(x, y, word, fontsize=style.SMALL, ha=side, va="center", zorder=7).set(
                    path_effects=[withStroke(linewidth=3, foreground="w")], family=style.FONT
                )
                break


def legend(figure: Any, runs: Sequence[Lifelines], y: float) -> None:
    """The states that occur, in a row."""
    seen = {band.state for run in runs for band in run.bands} - {"dead"}
    x = 0.11
    width = figure.get_figwidth()
    for state, (colour, hatch) in LOOKS.items():
        if state in seen:
            box = Rectangle(
                (x, y - 0.06 / figure.get_figheight()),
                0.24 / width,
                0.14 / figure.get_figheight(),
                facecolor=colour,
                hatch=hatch,
                lw=0,
                edgecolor="#8A6D00",
                transform=figure.transFigure,
            )
            figure.add_artist(box)
            name = NAMES.get(state, state)
            figure.text(x + 0.3 / width, y, name, va="center", fontsize=style.TEXT)
            x += (0.62 + 0.085 * len(name)) / width


def _title(figure: Any, title: str, height: float) -> None:
    words = figure.text(0.5, 1 - 0.2 / height, title, ha="center", va="center")
    words.set(fontsize=style.TITLE, weight="bold", family=style.FONT)
