"""Pictures of failure detectors: how φ grows, and what a short detection time costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labkit.views import style
from labkit.views.charts import chart, label_ends, margin_for, seconds_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUSPICION = "#F2C4A8"
"""A pale vermilion: somebody believes that something has failed, and may be wrong."""


def phi_over_time(
    beats: Sequence[float],
    make: Callable[[float], Any],
    until: float,
    thresholds: Sequence[float] = (),
    crash: float | None = None,
    title: str = "",
) -> Figure:
    """φ of one peer: a saw with a tooth for each beat. `make(now)` is its detector; `beats` are
    when its beats arrive; bands are shaded while the detector suspects it."""
    names = [f"φ = {threshold:g}" for threshold in thresholds]
    figure, axes = chart(title, "seconds", "φ", (10.0, 3.6), right=margin_for(names))
    times, values, bands = _saw(beats, make, until)
    top = 1.6 * max([*thresholds, 3.0])
    axes.plot(times, [min(v, 2 * top) for v in values], color=style.BLUE, lw=1.6, gid="phi")
    for begin, end in bands:
        axes.axvspan(begin, end, color=SUSPICION, lw=0, zorder=0, gid="suspicion")
    low = -0.035 * top
    axes.plot(beats, [low] * len(beats), "|", color=style.GREEN, ms=9, mew=1.6, gid="beats")
    if crash is not None:
        cross = axes.plot(crash, low, "x", color=style.FAULT, ms=10, mew=3, zorder=5)[0]
        cross.set_gid("death")
    for threshold in thresholds:
        axes.axhline(threshold, color=style.GREY, lw=1, ls="--", gid=f"threshold:{threshold:g}")
    axes.set(xlim=(times[0], until), ylim=(-0.08 * top, top))
    label_ends(axes, [(t, n, style.GREY) for t, n in zip(thresholds, names, strict=True)])
    return figure


def _saw(
    beats: Sequence[float], make: Callable[[float], Any], until: float
) -> tuple[list[float], list[float], list[tuple[float, float]]]:
    """Times and values of φ, and from when to when the detector suspects."""
    detector = make(beats[0])
    times: list[float] = []
    values: list[float] = []
    bands: list[tuple[float, float]] = []
    for here, there in zip(beats, [*beats[1:], until], strict=True):
        many = 10 + round(2000 * (there - here) / until)
        steps = [here + (there - here) * k / many for k in range(many + 1)]
        times += steps
        values += [detector.phi(now) for now in steps]
        begun = next((now for now in steps if detector.suspects(now)), None)
        if begun is not None:
            bands.append((begun, there))
        detector.beat(there)
    return times, values, bands


def trade_off(
    detectors: Mapping[str, Mapping[str, Any]], title: str = "", best: str = "here is best"
) -> Figure:
    """Detection time against mistakes: for each kind of detector its settings, each with its `QoS`.

    A setting without a mistake is hollow, and stands where one mistake would be in what was
    watched. Mistakes are by pair of nodes.
    """
    figure, axes = chart(
        title,
        "detection time: mean of $T_D$ (ms)",
        "mistakes an hour: $λ_M$",
        (8.5, 4.6),
        right=margin_for(list(detectors)),
    )
    ends = []
    for (name, settings), colour in zip(detectors.items(), _colours(), strict=False):
        found = sorted(settings.items(), key=lambda item: item[1].detection)
        xs = [1000 * qos.detection for _, qos in found]
        ys = [3600 * max(qos.rate, 1 / qos.watched) for _, qos in found]
        axes.plot(xs, ys, color=colour, lw=1.5, gid=f"line:{name}")
        for x, y, (setting, qos) in zip(xs, ys, found, strict=True):
            face = colour if qos.mistakes else style.PAPER
            dot = axes.plot(x, y, "o", ms=7, color=colour, mfc=face, mew=1.6)[0]
            dot.set_gid(f"setting:{name}:{setting}")
        ends.append((ys[-1], name, colour))
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set(xlim=(0, 1.08 * axes.get_xlim()[1]), ylim=(0.3 * low, 2 * high))
    _label_settings(axes, detectors)
    axes.text(
        0.01, 0.02, best, transform=axes.transAxes, size=style.SMALL, family=style.FONT,
        color=style.GREY, style="italic",
    )  # fmt: skip
    label_ends(axes, ends)
    return figure


def mistakes_by_setting(
    measured: Mapping[str, Mapping[str, Any]], x: str = "time-out", title: str = ""
) -> Figure:
    """Mistakes against settings that all have in common, one line for each condition; hollow at the
    bottom where there was none in what was watched."""
    settings = list(next(iter(measured.values())))
    figure, axes = chart(title, x, "mistakes an hour: $λ_M$", (9.0, 3.9), left=1.0)
    rates = {
        name: [3600 * found[setting].rate for setting in settings]
        for name, found in measured.items()
    }
    floor = min((r for some in rates.values() for r in some if r), default=1.0) / 3
    for k, ((name, some), colour) in enumerate(zip(rates.items(), _colours(), strict=False)):
        ys = [max(rate, floor) for rate in some]
        axes.plot(range(len(ys)), ys, color=colour, lw=2, gid=f"line:{name}")
        for at, (y, rate) in enumerate(zip(ys, some, strict=True)):
            face = colour if rate else style.PAPER
            axes.plot(at, y, "o", ms=8, color=colour, mfc=face, mew=1.8)
        axes.text(
            0.99, 0.97 - 0.09 * k, name, transform=axes.transAxes, ha="right", va="top",
            color=style.words(colour), size=style.TEXT, weight="bold", family=style.FONT,
        )  # fmt: skip
    axes.set(yscale="log", xlim=(-0.3, len(settings) - 0.4), ylim=(floor / 1.6, None))
    axes.set_xticks(range(len(settings)), settings)
    ticks = [t for t in axes.get_yticks() if floor * 2 < t <= axes.get_ylim()[1]]
    axes.set_yticks([floor, *ticks], ["none", *(f"{t:,.0f}" for t in ticks)])
    axes.minorticks_off()
    return figure


def _label_settings(axes: Any, detectors: Mapping[str, Mapping[str, Any]]) -> None:
    """Beside each dot what it is, where nothing is in the way; the lines say the rest."""
    taken = [tuple(axes.transAxes.transform((0.06, 0.03)))]
    for count, ((_, settings), colour) in enumerate(
        zip(detectors.items(), _colours(), strict=False)
    ):
        below = count == 0 and len(detectors) > 1
        shift, side, line = ((-6, -6), "right", "top") if below else ((6, 4), "left", "bottom")
        for setting, qos in sorted(settings.items(), key=lambda item: item[1].detection):
            x, y = 1000 * qos.detection, 3600 * max(qos.rate, 1 / qos.watched)
            dot = axes.transData.transform((x, y))
            here = (dot[0] - 50, dot[1] - 14) if below else (dot[0] + 50, dot[1] + 14)
            if any(abs(here[0] - a) < 90 and abs(here[1] - b) < 26 for a, b in taken):
                continue
            taken.append(here)
            axes.annotate(
                setting, (x, y), shift, textcoords="offset points", size=style.SMALL, ha=side,
                va=line, family=style.FONT, color=style.words(colour),
            )  # fmt: skip


def _colours() -> Sequence[str]:
    return (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.SKY, style.INK)


def qos_table(rows: Mapping[str, Any]) -> str:
    """One line for each `QoS`: the three measures of Chen, Toueg and Aguilera, and what follows."""
    width = max(map(len, rows))
    names = ("T_D", "worst", "T_MR", "T_M")
    head = f"{'':{width}}  {' '.join(f'{n:>8}' for n in names)} {'λ_M per h':>10} {'P_A':>10}"
    lines = [head]
    for name, q in rows.items():
        again = seconds_text(q.recurrence) if q.mistakes else "never"
        lasts = seconds_text(q.duration) if q.mistakes else "-"
        lines.append(
            f"{name:{width}}  {_time(q.detection):>8} {_time(q.slowest):>8} {again:>8} {lasts:>8} "
            f"{3600 * q.rate:>10.3g} {q.accuracy:>10.5%}"
        )
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return seconds_text(seconds) if seconds < float("inf") else "never"
