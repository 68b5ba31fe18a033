"""The widget: the browser's half of every panel, and the messages between the two halves."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labkit.views import style

STATIC = Path(__file__).parent / "static"
SCRIPTS = ("marks", "lanes", "labels", "diagram", "curves", "table", "knobs", "main")
"""Of `static/`, in this order: they are one module to the browser."""


class Front(anywidget.AnyWidget):
    """`mode` is live, simulated or finished; `lanes` are dicts with the `id` and `name` of a rank,
    its `witness` being true or false. With `present` all is drawn for a projector."""

    _esm = "\n".join((STATIC / f"{name}.js").read_text() for name in SCRIPTS)
    _css = (STATIC / "panel.css").read_text()

    mode = traitlets.Unicode().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)
    lanes: Any = traitlets.List().tag(sync=True)
    window = traitlets.Float(15.0).tag(sync=True)
    present = traitlets.Bool(False).tag(sync=True)
    colours = traitlets.Dict().tag(sync=True)

    def __init__(self, **settings: Any) -> None:
        names = {**style.LOOKS, **style.ROLES}
        colours = {name: look(found) for name, found in names.items()}
        lists = {"ranks": list(style.RANKS), "spare": list(style.SPARE)}
        super().__init__(colours={"looks": colours, **lists}, **settings)


def look(found: style.Look) -> list[str]:
    """Label, colour, and the colour of the hatch, if there is one."""
    return [found.label, found.colour, found.hatch_colour if found.hatch else ""]


def thread(target: Callable[[], None]) -> threading.Thread:
    """Runs `target` for a panel, in the context of the cell that makes it. A kernel (ipykernel 7)
    expects the answers to what a thread sends where the request came from that the thread serves;
    without a context that is whichever came last, and the clicks of a page that has been loaded
    again would go to a thread of the kernel that is no more."""
    run = contextvars.copy_context().run
    return threading.Thread(target=run, args=(target,), name="labkit panel", daemon=True)
