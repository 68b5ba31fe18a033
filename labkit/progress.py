"""`progress()`: which exercises of the lab are solved, across notebooks and kernels.

Whenever `check` finds an exercise right it writes the id into a file beside the learner's notebooks
(or where LABKIT_PROGRESS says). What is solved stays so: whoever goes on trying loses nothing.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

FILE = ".progress.json"


def place() -> Path:
    return Path(os.environ.get("LABKIT_PROGRESS", FILE))


def remembered() -> set[str]:
    """The ids of the exercises that were found right here; none where the file cannot be read."""
    try:
        found = json.loads(place().read_text(encoding="utf-8"))
        return {name for name in found if isinstance(name, str)}
    except (OSError, ValueError, TypeError):
        return set()


def remember(name: str) -> None:
    """Whole or not at all, since a kernel may be restarted at any moment."""
    known = remembered()
    if name in known:
        return
    path = place()
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(sorted({*known, name})) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError:  # a folder that cannot be written to: the check counts, the picture does not
        temporary.unlink(missing_ok=True)


def progress() -> Any:
    """A picture of all exercises, those that are solved in green."""
    from labkit.grading import exercise
    from labkit.views.solved import Square, solved

    known = sorted(map(exercise.load, exercise.ids()), key=lambda g: (g.about.notebook, g.id))
    done = remembered()
    squares = [Square(row(g.about.notebook), g.id, g.points, g.id in done) for g in known]
    return solved(squares)


@cache
def row(notebook: str) -> str:
    """`02 Ring all-reduce`: the notebook's title; its file's name where the lab has none of it."""
    from labkit.notebooks import NOTEBOOKS

    try:
        cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return notebook
    lines = (line for cell in cells for line in "".join(cell["source"]).splitlines())
    return next((line.removeprefix("# ") for line in lines if line.startswith("# ")), notebook)
