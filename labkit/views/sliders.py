"""Live forms of pictures: a slider per knob, the picture, and the line of code that draws it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.chaos import random_plan
from labkit.views.chaos import plan_picture
from labkit.views.goodput import panel
from labkit.views.reliability import thousands

GPUS = [8 << i for i in range(15)]
SAVE_MINUTES = [1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 240]
WRITE_SECONDS = [0, 1, 3, 10, 20, 30, 60, 120, 300]
RESTART_MINUTES = [0.1, 0.5, 1, 2, 3, 5, 10, 15, 20, 30]


def goodput_sliders(seed: int = 0) -> Any:
    """An ipywidgets box. A picture takes about 0.1 s, so it follows the hand."""
    import ipywidgets

    def slider(label: str, values: Sequence[float], value: float) -> Any:
        return ipywidgets.SelectionSlider(
            options=[(thousands(v) if v >= 1 else f"{v:g}", v) for v in values],
            value=value,
            description=label,
            style={"description_width": "13em"},
            layout={"width": "32em"},
        )

    knobs = {
        "gpus": slider("GPUs", GPUS, 16_384),
        "save_minutes": slider("minutes between saves", SAVE_MINUTES, 30),
        "write_seconds": slider("seconds a save takes", WRITE_SECONDS, 30),
        "restart_minutes": slider("minutes to restart", RESTART_MINUTES, 10),
    }
    picture = ipywidgets.Image(format="png")
    line = ipywidgets.HTML()

    def draw(_: Any = None) -> None:
        values = {name: knob.value for name, knob in knobs.items()}
        picture.value = panel(**values, seed=seed).png()
        arguments = ", ".join(f"{name}={value}" for name, value in values.items())
        line.value = f"<code>panel({arguments})</code>"

    for knob in knobs.values():
        knob.observe(draw, "value")
    draw()
    left, right = list(knobs.values())[:2], list(knobs.values())[2:]
    rows = ipywidgets.HBox([ipywidgets.VBox(left), ipywidgets.VBox(right)])
    return ipywidgets.VBox([rows, picture, line])


def plan_sliders(world_size: int, seconds: float, faults: int = 6, seed: int = 0) -> Any:
    """An ipywidgets box: the random plan of each seed, with as many faults as one likes."""
    import ipywidgets

    wide = {"style": {"description_width": "6em"}, "layout": {"width": "32em"}}
    seeds = ipywidgets.IntSlider(seed, 0, max(299, seed), description="seed", **wide)
    many = ipywidgets.IntSlider(faults, 1, 12, description="faults", **wide)
    picture = ipywidgets.Image(format="png", layout={"width": "945px"})
    line = ipywidgets.HTML()

    def draw(_: Any = None) -> None:
        plan = random_plan(seeds.value, world_size, seconds, many.value)
        picture.value = plan_picture(plan, f"The plan of seed {seeds.value}").png()
        said = f"random_plan({seeds.value}, {world_size}, {seconds:g}, faults={many.value})"
        line.value = f"<code>plan = {said}</code>"

    for knob in (seeds, many):
        knob.observe(draw, "value")
    draw()
    return ipywidgets.VBox([ipywidgets.HBox([seeds, many]), picture, line])
