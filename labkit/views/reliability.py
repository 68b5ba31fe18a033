"""Pictures of how often things fail, and of what that puts at risk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from labkit.reliability import mtbf
from labkit.reliability.published import OBSERVED_MTTF_HOURS, RATES, Interruption
from labkit.views import style

SIZES = np.geomspace(8, 131_072, 60)

CATEGORIES = {
    "GPU": style.VERMILION,
    "Dependency": style.BLUE,
    "Network": style.ORANGE,
    "Unplanned maintenance": style.GREEN,
    "Host": style.PURPLE,
    "Unknown": style.GREY,
}


def plain(axes: Any, title: str = "", x: str = "", y: str = "") -> Any:
    """The look of every chart: no box, the finding as its title."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=style.TITLE, loc="left")
    axes.set_xlabel(x, fontsize=style.LABEL)
    axes.set_ylabel(y, fontsize=style.LABEL)
    axes.tick_params(labelsize=style.SMALL)
    return axes


def thousands(number: float) -> str:
    """16384 as "16 384", with a space that does not break."""
    return f"{number:,.0f}".replace(",", "\N{NO-BREAK SPACE}")


def duration(hours: float) -> str:
    """Hours as a reader says them: "14 min", "3.1 h", "48 days"."""
    units = (("days", 24.0), ("h", 1.0), ("min", 1 / 60), ("s", 1 / 3600))
    unit, size = next((u for u in units if hours >= 1.5 * u[1]), units[-1])
    digits = 1 if hours < 10 * size else 0
    return f"{hours / size:.{digits}f}".removesuffix(".0") + f" {unit}"


def written_out(axis: Any) -> None:
    """The ticks of a logarithmic axis as plain numbers."""
    axis.set_major_formatter(lambda value, _: thousands(value) if value >= 1 else f"{value:g}")


def sizes_axis(axes: Any, last: float = SIZES[-1]) -> None:
    """Numbers of GPUs on a logarithmic axis, written out."""
    ticks = [t for t in (8, 128, 1_024, 16_384, 131_072) if t <= last]
    axes.set_xscale("log")
    axes.set_xticks(ticks, [thousands(t) for t in ticks])
    axes.minorticks_off()


def survival_of_all(probability: float, marks: Sequence[int]) -> Any:
    """probability**n over n, with the machines of `marks` written at the curve."""
    figure = style.figure(8.0, 3.4)
    axes = plain(
        figure.subplots(),
        f"Each works with {probability:g}. All of them?",
        "machines",
        "all work, %",
    )
    n = np.geomspace(1, 10_000, 200)
    axes.plot(n, 100 * np.asarray(mtbf.all_work(probability, n)), color=style.BLUE, lw=2)
    for mark in marks:
        chance = 100 * float(mtbf.all_work(probability, mark))
        axes.plot(mark, chance, "o", color=style.VERMILION)
        axes.annotate(f"{thousands(mark)}: {chance:.3g} %", (mark, chance), (8, 4),
                      textcoords="offset points", fontsize=style.TEXT)  # fmt: skip
    axes.set_xscale("log")
    written_out(axes.xaxis)
    axes.set_ylim(0, 112)
    axes.set_xlim(1, 20_000)
    return figure


def time_to_failure(first: Mapping[int, np.ndarray], mtbf_days: float) -> Any:
    """Left: when the first of N machines failed, in drawn lives. Right: measured clusters.

    `first` maps a number of machines to the drawn times in days, shape (trials,).
    """
    figure = style.figure(11.0, 3.9)
    left, right = figure.subplots(1, 2)
    plain(
        left,
        "N machines: N times as soon (drawn lives)",
        "days until the first failure",
        "runs still whole, %",
    )
    colours = (style.BLUE, style.ORANGE, style.VERMILION, style.PURPLE)
    for (machines, times), colour in zip(first.items(), colours, strict=False):
        times = np.sort(times)
        left.step(times, 100 * (1 - np.arange(1, len(times) + 1) / len(times)), color=colour)
        grid = np.geomspace(0.05, 2_000, 200)
        whole = mtbf.survival(grid, mtbf.mtbf_of_many(mtbf_days, machines))
        left.plot(grid, 100 * np.asarray(whole), color=style.INK, lw=0.8, ls=":")
        mean = mtbf_days / machines
        left.text(mean, 37, f" {machines}", color=colour, fontsize=style.TEXT, weight="bold")
    left.set_xscale("log")
    written_out(left.xaxis)
    left.set_xlim(0.05, 2_000)
    mttf_of_clusters(right)
    figure.tight_layout()
    return figure


def mttf_of_clusters(axes: Any) -> None:
    plain(axes, "Real clusters: N machines, 1/N of the time", "GPUs in the job", "hours to failure")
    for (name, rate), colour in zip(
        RATES.items(), (style.VERMILION, style.BLUE, style.GREEN), strict=True
    ):
        axes.plot(SIZES, mtbf.job_mtbf_hours(SIZES / 8, rate), color=colour, label=name, lw=1.5)
    for gpus, hours in OBSERVED_MTTF_HOURS.items():
        axes.plot(gpus, hours, "o", color=style.INK)
        below = hours < min(mtbf.job_mtbf_hours(gpus / 8, rate) for rate in RATES.values())
        place, va = ((-8, -6), "top") if below else ((6, 2), "bottom")
        axes.annotate(duration(hours), (gpus, hours), place, ha="left", va=va,
                      textcoords="offset points", fontsize=style.TEXT)  # fmt: skip
    axes.plot([], [], "o", color=style.INK, label="observed")
    axes.set_yscale("log")
    written_out(axes.yaxis)
    sizes_axis(axes)
    axes.set_xlim(4, SIZES[-1])
    axes.set_ylim(0.1, 2e4)
    axes.legend(frameon=False, fontsize=style.SMALL)


def interruptions(rows: Sequence[Interruption], least: int = 3) -> Any:
    """The causes as bars, those with fewer than `least` cases together in the last one."""
    shown = [r for r in rows if r.count >= least]
    rest = sum(r.count for r in rows) - sum(r.count for r in shown)
    total = sum(r.count for r in rows)
    gpu = sum(r.count for r in rows if r.category == "GPU")
    figure = style.figure(9.0, 4.4)
    axes = plain(figure.subplots(), f"{gpu} of {total} interruptions came from a GPU")
    names = [r.component for r in shown] + ["all others"]
    counts = [r.count for r in shown] + [rest]
    colours = [CATEGORIES[r.category] for r in shown] + [style.GREY]
    axes.barh(names, counts, color=colours)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    for place, count in enumerate(counts):
        axes.text(count + 1.5, place, f"{count}  ({count / total:.1%})", va="center",
                  fontsize=style.SMALL)  # fmt: skip
    for place, (category, colour) in enumerate(CATEGORIES.items()):
        axes.text(0.98, 0.06 + 0.07 * place, category, color=colour, transform=axes.transAxes,
                  ha="right", fontsize=style.LABEL, weight="bold")  # fmt: skip
    figure.tight_layout()
    return figure


def money_at_risk(
    dollars_per_hour: float, failures: Sequence[float], hours: float, save_hours: float
) -> Any:
    """Dollars of work that exist only in memory: without checkpoints, and with them.

    `failures` are the hours at which the job fails, in order.
    """
    figure = style.figure(11.0, 3.6)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, interval in ((left, hours), (right, save_hours)):
        burnt = 0.0
        for begin, end, fails in unsaved(failures, hours, interval):
            risk = (end - begin) * dollars_per_hour / 1e3
            axes.plot([begin / 24, end / 24], [0, risk], color=style.BLUE, lw=1)
            if fails:
                burnt += risk * 1e3
                axes.plot(end / 24, risk, "X", color=style.VERMILION, ms=7, mec="white", mew=0.5)
        word = "No checkpoints" if interval == hours else f"One every {duration(interval)}"
        plain(axes, f"{word}: ${thousands(round(burnt, -3))} burnt", "day")
        axes.set_xlim(0, hours / 24)
    left.set_ylim(0, None)
    left.set_ylabel("unsaved work, thousand $", fontsize=style.LABEL)
    figure.tight_layout()
    return figure


def unsaved(
    failures: Sequence[float], hours: float, interval: float
) -> Iterator[tuple[float, float, bool]]:
    """The stretches (begin, end, fails) of work that no checkpoint holds yet."""
    begin = 0.0
    for end, fails in [*((f, True) for f in failures), (hours, False)]:
        while begin + interval < end:
            yield begin, begin + interval, False
            begin += interval
        yield begin, end, fails
        begin = end


def three_answers(nodes: int, node_works: float, replica_works: float) -> Any:
    """Redundancy, replication, consensus: what one machine more buys in each."""
    figure = style.figure(11.0, 3.5)
    spares, copies, voters = figure.subplots(1, 3)
    plain(spares, f"Redundancy: {thousands(nodes)} needed", "spare machines", "the job runs, %")
    counts = np.arange(6)
    chance = [100 * mtbf.at_least(nodes, nodes + int(s), node_works) for s in counts]
    bars(spares, counts, chance, style.BLUE, "{:.3g}")
    plain(copies, "Replication: one copy is enough", "copies", "the value is lost, %")
    counts = np.arange(1, 4)
    lost = [100 * (1 - mtbf.at_least(1, int(n), replica_works)) for n in counts]
    bars(copies, counts, lost, style.GREEN, "{:.2g}")
    plain(voters, "Consensus: a majority is needed", "voters", "no decision, %")
    counts = np.arange(1, 6)
    stuck = [100 * (1 - mtbf.at_least(int(n) // 2 + 1, int(n), replica_works)) for n in counts]
    colours = [style.ORANGE if n % 2 else style.PALE for n in counts]
    bars(voters, counts, stuck, colours, "{:.2g}")
    for axes in (copies, voters):
        axes.set_yscale("log")
        axes.set_ylim(3e-5, 8)
        axes.minorticks_off()
        axes.set_yticks([])
    figure.tight_layout()
    return figure


def bars(axes: Any, places: Any, heights: Any, colour: Any, form: str) -> None:
    """Bars with their values written on top."""
    axes.bar(places, heights, color=colour)
    for place, height in zip(places, heights, strict=True):
        axes.text(place, height, form.format(height), ha="center", va="bottom",
                  fontsize=style.SMALL)  # fmt: skip
    axes.set_xticks(places)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
