"""Computing and communication of one step, one above the other: what hides, what is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from labkit.views import style
from labkit.views.charts import bytes_text, dress, panel
from labkit.views.labels import width_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Step(Protocol):
    """What is drawn of a step; `labkit.training.overlap.Glimpse` is one."""

    backward: float
    travel: list[tuple[float, float]]
    sizes: list[int]


def overlap(steps: Mapping[str, Step], title: str = "") -> Figure:
    """A pair of lanes a step: the backward pass above, its buckets' all-reduces below, against
    milliseconds since the backward pass began. The end of each step is marked with its time."""
    left = 0.3 + max(width_of(name, style.LABEL) for name in steps)
    height = 1.35 + 0.95 * len(steps)
    figure = style.figure(9.0, height)
    axes = panel(figure, (left, 0.62, 9.0 - left - 0.9, height - 1.15))
    dress(axes, title, "milliseconds since the backward pass began", "")
    for place, step in enumerate(steps.values()):
        _draw(axes, step, place)
    axes.set_yticks([p + 0.5 for p in range(len(steps))], list(steps), size=style.LABEL)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(steps) + 0.05, -0.1)
    axes.set_xlim(left=0)
    axes.spines["left"].set_visible(False)
    return figure


def _draw(axes: Any, step: Step, place: int) -> None:
    words = {"size": style.SMALL, "family": style.FONT, "va": "center"}
    computing, travel = style.LOOKS["computing"].colour, style.LOOKS["all reduce"].colour
    axes.barh(place + 0.26, 1e3 * step.backward, 0.36, color=computing)[0].set_gid("backward")
    axes.text(1e3 * step.backward / 2, place + 0.26, "backward", ha="center", **words)
    for (begin, end), size in zip(step.travel, step.sizes, strict=True):
        bar = axes.barh(place + 0.66, 1e3 * (end - begin), 0.36, 1e3 * begin, color=travel)[0]
        bar.set(gid=f"bucket:{size}", edgecolor=style.PAPER, linewidth=1.5)
        if len(step.travel) == 1:
            middle = 1e3 * (begin + end) / 2
            axes.text(middle, place + 0.66, bytes_text(size), ha="center", **words)
    last = 1e3 * max(step.backward, step.travel[-1][1])
    axes.annotate(f"{last:.1f} ms", (last, place + 0.46), (6, 0), textcoords="offset points",
                  annotation_clip=False, weight="bold", **words)  # fmt: skip
