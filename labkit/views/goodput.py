"""Pictures of goodput: where a job's time goes, and what is left of it at every size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from labkit.reliability import mtbf, young_daly
from labkit.reliability.goodput import Job, Outcome, simulate
from labkit.reliability.published import GPUS_PER_NODE, PUBLISHED_GOODPUT, RATES
from labkit.views import style
from labkit.views.charts import chart, label_ends, margin_for
from labkit.views.reliability import SIZES, duration, plain, sizes_axis, thousands, written_out

# One colour for one use of time, in every picture here.
SPENT = {
    "useful": style.SKY,
    "writing": style.GREEN,
    "lost": style.VERMILION,
    "restarting": style.PURPLE,
    "waiting": "#BDBDBD",
}


def job_of(
    gpus: float, save_minutes: float, write_seconds: float, restart_minutes: float, rate: float
) -> Job:
    """The job that the sliders describe; `rate` is failures per day of a node with 8 GPUs."""
    whole = float(mtbf.job_mtbf_hours(max(gpus / GPUS_PER_NODE, 1), rate))
    return Job(whole, save_minutes / 60, write_seconds / 3600, restart_minutes / 60)


def panel(
    gpus: int = 16_384,
    save_minutes: float = 30.0,
    write_seconds: float = 30.0,
    restart_minutes: float = 10.0,
    rate: float = RATES["Llama 3 (H100, 16 k GPUs)"],
    seed: int = 0,
) -> Any:
    """One simulated day of such a job, and its goodput beside that of other sizes."""
    job = job_of(gpus, save_minutes, write_seconds, restart_minutes, rate)
    figure = style.figure(11.0, 3.9)
    day, sizes = figure.subplots(1, 2, width_ratios=(1.25, 1))
    outcome = simulate(job, 24.0, trials=1, seed=seed)
    failures, kept = int(outcome.failures[0]), float(outcome.useful[0]) * 24
    plain(
        day,
        f"One day: {failures} failure{'s' * (failures != 1)}, {kept:.1f} of 24 h kept",
        "hours of wall-clock time",
        "hours of progress",
    )
    sawtooth(day, outcome, job)
    curves = np.array([goodput_of(g, job, gpus) for g in SIZES])
    here = float(goodput_of(gpus, job, gpus))
    sizes.plot(SIZES, 100 * curves, color=style.BLUE, lw=2)
    sizes.plot([gpus], [100 * here], "o", ms=10, color=style.VERMILION)
    sizes.set_ylim(0, 102)
    sizes_axis(sizes)
    title = f"{thousands(gpus)} GPUs: a failure every {duration(job.mtbf)}"
    plain(sizes, f"{title}, goodput {100 * here:.0f} %", "GPUs in the job", "goodput, %")
    figure.tight_layout()
    return figure


def goodput_of(gpus: Any, job: Job, gpus_of_job: float) -> Any:
    """Daly's exact goodput of the same job on another number of GPUs."""
    scaled = job.mtbf * max(gpus_of_job / GPUS_PER_NODE, 1) / np.maximum(gpus / GPUS_PER_NODE, 1)
    return young_daly.goodput(job.interval, job.write, scaled, job.restart)


def sawtooth(axes: Any, outcome: Outcome, job: Job) -> None:
    """Progress that would be there, and how each failure throws it back to the last save."""
    end = outcome.lives[-1, 1]
    axes.plot([0, end], [0, end], color=style.GREY, lw=1, ls="--")
    axes.text(end, end, "no failures ", ha="right", va="bottom", fontsize=style.SMALL,
              color=style.GREY)  # fmt: skip
    level = 0.0
    for begin, stop, back, kept in outcome.lives:
        pace = job.interval / (job.interval + job.write)
        reached = level + (stop - back) * pace
        axes.plot([begin, back], [level, level], color=SPENT["restarting"], lw=2)
        axes.plot([back, stop], [level, reached], color=style.BLUE, lw=2)
        level += kept
        if stop < end:
            axes.plot([stop, stop], [reached, level], color=style.VERMILION, lw=2)
            axes.plot(stop, reached, "X", color=style.VERMILION, ms=7, mec="white", mew=0.5)
    axes.set_xlim(0, end)
    axes.set_xticks(np.linspace(0, end, 5))
    axes.set_yticks(np.linspace(0, end, 5))
    axes.set_ylim(0, end * 1.08)


def where_time_goes(job: Job, intervals: Sequence[float], hours: float, seed: int = 0) -> Any:
    """Lost work against writes, by checkpoint interval (hours): simulated, with the closed form."""
    played = [simulate(replace(job, interval=i), hours, trials=40, seed=seed) for i in intervals]
    minutes = 60 * np.asarray(intervals)
    figure = style.figure(9.0, 4.2)
    names = ("writing", "lost", "restarting")
    parts = [[100 * getattr(p, name).mean() for p in played] for name in names]
    best = float(young_daly.young_interval(job.write, job.mtbf))
    axes = plain(
        figure.subplots(),
        f"Save too often and you write, too seldom and you repeat: best near {duration(best)}",
        "minutes of work between two checkpoints",
        "time without progress, %",
    )
    axes.stackplot(minutes, parts, colors=[SPENT[n] for n in names])
    kept = young_daly.goodput(np.asarray(intervals), job.write, job.mtbf, job.restart)
    formula = 100 * (1 - np.asarray(kept))
    axes.plot(minutes, formula, color=style.INK, lw=1.5, ls="--")
    axes.text(minutes[-1], formula[-1], "Daly 2006 ", ha="right", va="bottom", fontsize=style.TEXT)
    axes.axvline(60 * best, color=style.INK, lw=1, ls=":")
    axes.text(60 * best, formula.max(), " Young 1974", fontsize=style.TEXT, va="top")
    tops = np.cumsum(parts, axis=0)
    for i, (name, at) in enumerate(zip(names, (1, -2, len(minutes) // 2), strict=True)):
        middle = tops[i][at] - parts[i][at] / 2
        axes.text(minutes[at], middle, name, ha="center", va="center", fontsize=style.TEXT,
                  color="white", weight="bold")  # fmt: skip
    axes.set_xscale("log")
    written_out(axes.xaxis)
    axes.set_xlim(minutes[0], minutes[-1])
    return figure


def by_size(cases: Sequence[tuple[str, float, float, float]]) -> Any:
    """Goodput from 8 GPUs up, at each size's best interval, beside published figures.

    `cases` are (name, failures per node-day, write in hours, restart in hours).
    """
    figure = style.figure(9.0, 4.4)
    axes = plain(
        figure.subplots(),
        "Two times decide: that of a save and that of a restart",
        "GPUs in the job",
        "goodput, %",
    )
    colours = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE)
    for (name, rate, write, restart), colour in zip(cases, colours, strict=False):
        whole = np.asarray(mtbf.job_mtbf_hours(SIZES / GPUS_PER_NODE, rate))
        best = young_daly.daly_interval_higher_order(write, whole)
        curve = 100 * np.asarray(young_daly.goodput(best, write, whole, restart))
        axes.plot(SIZES, curve, color=colour, lw=2, label=name)
    for i, (name, gpus, goodput) in enumerate(PUBLISHED_GOODPUT):
        letter = "abcdefgh"[i]
        axes.plot(gpus, 100 * goodput, "o", ms=15, color=style.INK)
        axes.text(gpus, 100 * goodput, letter, color="white", ha="center", va="center_baseline",
                  fontsize=style.SMALL, weight="bold")  # fmt: skip
        axes.text(0.4, 0.27 - 0.07 * i, f"{letter}  {name}", transform=axes.transAxes,
                  fontsize=style.SMALL)  # fmt: skip
    sizes_axis(axes)
    axes.set_ylim(0, 102)
    axes.legend(frameon=False, fontsize=style.SMALL, loc="lower left")
    return figure


def by_gap(
    played: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    measured: Mapping[str, tuple[float, float]],
    title: str = "",
) -> Any:
    """Goodput (%) by seconds between two deaths: a line for each system, `(gaps, shares)`, and a
    dot where it was measured, `(gap, share)`."""
    figure, axes = chart(
        title, "seconds between two deaths", "goodput, %", (8.5, 3.6), right=margin_for([*played])
    )
    ends = []
    for (name, (gaps, shares)), colour in zip(
        played.items(), (style.BLUE, style.ORANGE, style.GREEN), strict=False
    ):
        axes.plot(gaps, shares, color=colour, lw=2, gid=f"line:{name}")
        axes.plot(*measured[name], "o", color=colour, ms=9, mec=style.INK, gid=f"dot:{name}")
        ends.append((shares[-1], name, colour))
    axes.set(xscale="log", ylim=(0, 104))
    axes.set_xticks(gaps, [f"{gap:g}" for gap in gaps])
    axes.minorticks_off()
    label_ends(axes, ends)
    return figure


def spot(
    steady_dollars: float,
    spot_dollars: float,
    write: float,
    restarts: Sequence[float],
    mtbf_hours: Sequence[float],
) -> Any:
    """Dollars per useful GPU-hour on machines that are taken away every `mtbf_hours`.

    Prices are per GPU-hour; `write` and each of `restarts` in hours; saved at the best interval.
    """
    figure = style.figure(9.0, 3.9)
    axes = plain(
        figure.subplots(),
        "Spot is cheap only for those who come back fast",
        "hours between two losses of a machine",
        "$ per useful GPU-hour",
    )
    hours = np.asarray(mtbf_hours)
    best = young_daly.daly_interval_higher_order(write, hours)
    for restart, colour in zip(restarts, (style.GREEN, style.ORANGE, style.VERMILION), strict=True):
        kept = young_daly.goodput(best, write, hours, restart)
        axes.plot(hours, spot_dollars / np.asarray(kept), color=colour, lw=2,
                  label=f"back in {duration(restart)}")  # fmt: skip
    for name, dollars, up, look in (
        ("on demand", steady_dollars, 3, {"color": style.INK, "ls": "--"}),
        ("spot price", spot_dollars, -5, {"color": style.GREY, "ls": ":"}),
    ):
        axes.axhline(dollars, lw=1, **look)
        axes.annotate(name, (hours[-1], dollars), (0, up), textcoords="offset points", ha="right",
                      va="bottom" if up > 0 else "top", fontsize=style.TEXT)  # fmt: skip
    axes.set_xscale("log")
    written_out(axes.xaxis)
    axes.set_ylim(0, 2.2 * steady_dollars)
    axes.legend(frameon=False, fontsize=style.TEXT)
    return figure
