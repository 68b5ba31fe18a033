"""Which all-reduce is the cheapest: the cost model as curves, as a map, and under sliders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.reliability.communication import ALGORITHMS, Wire, crossover
from labkit.views import style
from labkit.views.charts import bytes_text, chart
from labkit.views.collectives import COLOURS, time_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def times(
    measured: Mapping[str, Sequence[tuple[float, float]]],
    models: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    title: str = "",
) -> Figure:
    """`time_curves`, with a tick at 1, 2 and 5 where powers of ten would leave one or two."""
    from matplotlib.ticker import LogLocator

    figure = time_curves(measured, models, title)
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    if high / low < 300:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    return figure


# ---- on paper ----------------------------------------------------------------------------------

NETWORKS = {
    "NVLink": (3.4, 370.0),
    "InfiniBand, 400 Gbit/s": (14.0, 50.0),
    "Ethernet, 10 Gbit/s": (50.0, 1.25),
}
"""Microseconds a step and GB/s. The latencies of the first two are NCCL's own (src/graph/tuning.cc
of 2.20: ring, "Simple"), 370 is what its ring reaches of 450 (nccl-tests, issue 212)."""


def cost_curves(ranks: int, microseconds: float, gigabytes: float) -> Figure:
    """What the four algorithms cost on paper, for tensors from 1 KiB to 1 GiB.

    `microseconds` of latency a message, `gigabytes` a second and link.
    """
    wire = Wire(1e-6 * microseconds, 1e-9 / gigabytes)
    sizes = np.geomspace(1 << 10, 1 << 30, 60)
    lines = {
        name: list(zip(sizes, np.asarray(cost(wire, ranks, sizes)), strict=True))
        for name, cost in ALGORITHMS.items()
    }
    border = crossover("tree", "ring", wire, ranks)
    found = f"from {bytes_text(border)} on" if border else "always"
    return times({}, lines, f"{ranks} ranks, on paper: the ring beats the tree {found}")


def cost_sliders() -> Any:
    """An ipywidgets box: the number of ranks, the network, the curves, the line that draws them."""
    import ipywidgets

    wide = {"style": {"description_width": "6em"}, "layout": {"width": "28em"}}
    ranks = ipywidgets.SelectionSlider(
        options=[4, 6, 8, 16, 32, 64, 100, 256, 1_000, 4_096, 16_384],
        value=64, description="ranks", **wide,
    )  # fmt: skip
    network = ipywidgets.Dropdown(
        options=list(NETWORKS), value="InfiniBand, 400 Gbit/s", description="network", **wide
    )
    picture, line = ipywidgets.Image(format="png"), ipywidgets.HTML()

    def draw(_: Any = None) -> None:
        values = (ranks.value, *NETWORKS[network.value])
        drawn: Any = cost_curves(*values)
        picture.value = drawn.png()
        line.value = f"<code>cost_curves({', '.join(map(str, values))})</code>"

    for knob in (ranks, network):
        knob.observe(draw, "value")
    draw()
    return ipywidgets.VBox([ipywidgets.HBox([ranks, network]), picture, line])


# ---- the map -----------------------------------------------------------------------------------


def choices(rows: Sequence[tuple[int, float, float, float, str, object]]) -> Figure:
    """Where the ring is cheaper than the tree, on paper, and what was chosen.

    A row is (ranks, bytes, alpha, beta, expected, chosen). Sizes are drawn in units of alpha/beta:
    the size at which a message has waited for its latency as long as for its bytes.
    """
    agree = sum(row[4] == row[5] for row in rows)
    title = f"{agree} of {len(rows)} choices are the cheaper one"
    figure, axes = chart(title, "ranks", "size of the tensor, in units of α/β", (8.0, 4.2))
    wire = Wire(1.0, 1.0)
    corners = [4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 256, 257, 512, 513, 1024]
    border = [crossover("tree", "ring", wire, n) or 0.0 for n in (4, *corners, 1024)]
    ranks = [3.5, *corners, 1200]
    axes.set(xscale="log", yscale="log", xlim=(3.5, 1200), ylim=(0.05, 2000))
    axes.fill_between(ranks, border, 2000, color=COLOURS["ring"], alpha=0.13, lw=0)
    axes.fill_between(ranks, 0.05, border, color=COLOURS["tree"], alpha=0.16, lw=0)
    for name, place in (("ring", (4, 700)), ("tree", (450, 0.1))):
        words = {"color": style.words(COLOURS[name]), "size": style.LABEL, "weight": "bold"}
        axes.text(*place, f"the {name} is cheaper", family=style.FONT, ha="left" if name == "ring"
                  else "right", **words)  # fmt: skip
    for n, size, alpha, beta, expected, chosen in rows:
        right = expected == chosen
        marker, colour = ("o", COLOURS[expected]) if right else ("X", style.FAULT)
        how = {"ms": 7 if right else 9, "mec": style.PAPER, "color": colour}
        axes.plot(n, size * beta / alpha, marker, **how)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticks([4, 16, 64, 256, 1000])
    axes.minorticks_off()
    return figure
