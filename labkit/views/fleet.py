"""Pictures of simulated jobs: beside published figures, and four answers to a failure by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labkit.reliability.fleet import SPENT, Course
from labkit.reliability.published import Figure
from labkit.views import goodput, style
from labkit.views.reliability import plain, sizes_axis

COLOURS = goodput.SPENT | {"noticing": style.ORANGE}


def replays(figures: Sequence[Figure]) -> Any:
    """Each published share as a diamond, its tolerance as a band, and ours as a dot in it."""
    shares = [figure for figure in figures if figure.published <= 1][::-1]
    picture = style.figure(9.0, 1.0 + 0.27 * len(shares))
    inside = sum(figure.agrees for figure in shares)
    title = f"{inside} of {len(shares)} published shares are found again"
    axes = plain(picture.subplots(), title, "share of time, %")
    for place, figure in enumerate(shares):
        low, high = figure.published - figure.tolerance, figure.published + figure.tolerance
        high = 1.0 if figure.at_least else high
        axes.plot([100 * low, 100 * high], [place, place], color=style.PALE, lw=8, zorder=1)
        axes.plot(100 * figure.published, place, "D", color=style.INK, ms=6, zorder=2)
        colour = style.BLUE if figure.agrees else style.VERMILION
        axes.plot(100 * figure.ours, place, "o", color=colour, ms=6, zorder=3)
    names = [f"{figure.source}: {figure.what}" for figure in shares]
    axes.set_yticks(range(len(shares)), names, fontsize=style.SMALL)
    axes.set_xlim(0, 102)
    for colour, mark, label in ((style.INK, "D", "published"), (style.BLUE, "o", "simulated")):
        axes.plot([], [], mark, color=colour, label=label)
    axes.legend(frameon=False, fontsize=style.TEXT, loc="lower left")
    picture.tight_layout()
    return picture


def by_size(courses: Mapping[str, Mapping[int, Course]]) -> Any:
    """`courses[answer][gpus]`: what is left at every size, one curve an answer."""
    picture = style.figure(9.0, 4.4)
    axes = plain(
        picture.subplots(),
        "The same failures, four answers: who stops, and for how long",
        "GPUs in the job",
        "progress, % of a job without failures",
    )
    colours = (style.VERMILION, style.ORANGE, style.BLUE, style.GREEN)
    for (answer, sizes), colour in zip(courses.items(), colours, strict=True):
        kept = [100 * course.progress for course in sizes.values()]
        axes.plot(list(sizes), kept, "o-", color=colour, lw=2, ms=5, label=answer)
        axes.text(list(sizes)[-1], kept[-1], f"  {kept[-1]:.0f} %", color=colour, va="center",
                  fontsize=style.TEXT, weight="bold")  # fmt: skip
    sizes_axis(axes)
    axes.set_ylim(0, 102)
    axes.legend(frameon=False, fontsize=style.TEXT, loc="lower left")
    return picture


def where_time_goes(courses: Mapping[str, Course]) -> Any:
    """One bar a job, cut into what its time went into."""
    picture = style.figure(9.0, 0.9 + 0.55 * len(courses))
    axes = plain(picture.subplots(), "Where the time goes", "share of time, %")
    names = list(courses)[::-1]
    for place, name in enumerate(names):
        left = 0.0
        for part in SPENT:
            share = 100 * getattr(courses[name], part)
            label = part if place == 0 else None
            axes.barh(place, share, left=left, color=COLOURS[part], label=label)
            if share >= 4:
                axes.text(left + share / 2, place, f"{share:.0f}", ha="center", va="center",
                          fontsize=style.SMALL)  # fmt: skip
            left += share
    axes.set_yticks(range(len(names)), names, fontsize=style.TEXT)
    axes.set_xlim(0, 100)
    axes.legend(frameon=False, fontsize=style.SMALL, ncols=len(SPENT), loc="upper left",
                bbox_to_anchor=(0, -0.35))  # fmt: skip
    picture.tight_layout()
    return picture
