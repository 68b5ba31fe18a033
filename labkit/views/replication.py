"""Pictures of replicas: quorums that meet or miss, copies of blocks, who gets an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.patches import Circle, Rectangle

from labkit.views import style
from labkit.views.charts import dress

WRITTEN, ASKED, BOTH = style.YELLOW, style.SKY, style.GREEN

COPIES = (style.FAULT, style.ORANGE, style.SKY, "#DCE9F2")
"""Of blocks with no copy, one, two, and all that they should have."""


def quorums(n: int, settings: Sequence[tuple[int, int]], title: str = "") -> Any:
    """For each (R, W) the W replicas that a write reached, and the R that miss them if any can."""
    figure = style.figure(min(11.0, 0.8 * (n + 1.2) * len(settings)), 2.3)
    axes = figure.add_axes((0, 0, 1, 0.86))
    axes.set_aspect("equal")
    axes.axis("off")
    width = n + 1.2
    axes.set(xlim=(-1.0, width * len(settings) - 0.6), ylim=(-1.9, 1.1))
    for place, (reads, writes) in enumerate(settings):
        left = place * width
        for node in range(n):
            held, asked = node < writes, node >= n - reads
            face = BOTH if held and asked else WRITTEN if held else ASKED if asked else style.PALE
            axes.add_patch(Circle((left + node, 0), 0.4, facecolor=face, edgecolor=style.INK))
            word = "W" * held + "R" * asked
            axes.text(left + node, 0, word, ha="center", va="center", fontsize=style.SMALL).set(
                color=style.on(face)
            )
        shared = max(0, reads + writes - n)
        middle = left + (n - 1) / 2
        sign = ">" if shared else "=" if reads + writes == n else "<"
        said = f"{shared} in common" if shared else "they may miss each other"
        colour = style.words(BOTH if shared else style.FAULT)
        for y, text, ink in (
            (-0.85, f"R {reads} + W {writes} {sign} N {n}", style.INK),
            (-1.4, said, colour),
        ):
            axes.text(middle, y, text, ha="center", va="center", fontsize=style.TEXT, color=ink)
    figure.text(0.5, 0.9, title, ha="center", va="center", fontsize=style.TITLE, weight="bold")
    return figure


def copies_over_time(
    samples: Sequence[tuple[float, Sequence[int]]],
    reads: Sequence[tuple[int, float, float]] = (),
    faults: Sequence[tuple[float, str]] = (),
    title: str = "",
) -> Any:
    """How many blocks had 0, 1, 2, … copies at each time, the last number standing for it and more;
    below, how long each read took, at the time when it was asked for."""
    height = 4.6 if reads else 2.8
    figure = style.figure(10.0, height)
    bottom, top = 0.4 if reads else 0.18, 1 - 0.75 / height
    upper = figure.add_axes((0.08, bottom, 0.78, top - bottom))
    times = [time for time, _ in samples]
    levels = len(samples[0][1])
    base = [0.0] * len(samples)
    for level in reversed(range(levels)):
        counts = [numbers[level] for _, numbers in samples]
        tops = [b + c for b, c in zip(base, counts, strict=True)]
        colour = COPIES[-1] if level == levels - 1 else COPIES[min(level, 2)]
        area = upper.fill_between(times, base, tops, step="post", lw=0, color=colour)
        area.set_gid(f"copies:{level}")
        if any(counts):
            at = max(range(len(samples)), key=lambda i: counts[i])
            name = f"{level} copies" if level != 1 else "1 copy"
            y = (base[-1] + tops[-1]) / 2 if counts[-1] else (base[at] + tops[at]) / 2
            upper.text(1.01, y, name, transform=upper.get_yaxis_transform(), va="center").set(
                color=style.words(colour) if level < levels - 1 else style.INK, fontsize=style.TEXT
            )
        base = tops
    dress(upper, "", "" if reads else "seconds", "blocks")
    words = figure.text(0.08, 1 - 0.18 / height, title, va="center")
    words.set(fontsize=style.TITLE, weight="bold")
    upper.set(xlim=(times[0], times[-1]), ylim=(0, base[0]))
    panels = [upper]
    if reads:
        lower = figure.add_axes((0.08, 0.12, 0.78, 0.2), sharex=upper)
        asked = [a for _, a, _ in reads]
        lower.plot(asked, [1e3 * (there - a) for _, a, there in reads], ".", color=style.INK, ms=4)
        dress(lower, "", "seconds", "ms a read")
        lower.set_ylim(bottom=0)
        panels.append(lower)
    for place, (time, name) in enumerate(faults):
        for axes in panels:
            axes.axvline(time, color=style.FAULT, lw=2, gid=f"fault:{name}")
        row = base[0] * (1 + 0.2 / height / (top - bottom) * (len(faults) - 1 - place))
        upper.text(time, row, f" {name}", va="bottom", color=style.words(style.FAULT)).set(
            fontsize=style.SMALL
        )
    return figure


ANSWERED, STALE, SILENT = "answered", "stale", "no answer"
LOOK = {ANSWERED: (style.GREEN, "o"), STALE: (style.ORANGE, "s"), SILENT: (style.FAULT, "x")}


def answers(
    rows: Mapping[str, Sequence[tuple[float, str]]],
    band: tuple[float, float],
    title: str = "",
    name: str = "partition",
) -> Any:
    """A mark for each call in its row: answered, answered with an old value, or not at all."""
    height = 1.3 + 0.5 * len(rows)
    figure = style.figure(10.0, height)
    axes = figure.add_axes((0.2, 0.5 / height, 0.64, 1 - 1.0 / height))
    axes.add_patch(
        Rectangle(
            (band[0], -0.6), band[1] - band[0], len(rows), color=style.FAULT, alpha=0.13, lw=0
        )
    ).set_gid(f"fault:{name}")
    axes.text(band[0], -0.66, f" {name}", va="bottom", fontsize=style.SMALL).set(
        color=style.words(style.FAULT)
    )
    for row, (who, calls) in enumerate(rows.items()):
        for kind, (colour, marker) in LOOK.items():
            at = [time for time, what in calls if what == kind]
            axes.plot(at, [row] * len(at), marker, color=colour, ms=6, mew=2, lw=0, gid=kind)
        axes.text(
            -0.01, row, who, transform=axes.get_yaxis_transform(), ha="right", va="center"
        ).set(fontsize=style.TEXT)
    seen = {what for calls in rows.values() for _, what in calls}
    for place, kind in enumerate(kind for kind in LOOK if kind in seen):
        colour, marker = LOOK[kind]
        axes.plot(1.03, place * 0.6, marker, color=colour, ms=6, mew=2, clip_on=False).pop().set(
            transform=axes.get_yaxis_transform()
        )
        axes.text(1.05, place * 0.6, kind, transform=axes.get_yaxis_transform(), va="center").set(
            fontsize=style.TEXT, color=style.words(colour)
        )
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=[])
    axes.set_xlabel("seconds", fontsize=style.LABEL)
    style.plain_axes(axes)
    axes.spines["left"].set_visible(False)
    words = figure.text(0.5, 1 - 0.2 / height, title, ha="center", va="center")
    words.set(fontsize=style.TITLE, weight="bold")
    return figure
