"""A run of a notebook in figures, to be held against the next: `NAME.metrics.json` beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from labkit import events
from labkit.notebooks.source import Notebook

COUNTED = {"view": "views", "fault": "faults", "death": "deaths", "checkpoint": "checkpoints"}


def metrics(
    notebook: Notebook, parameters: Mapping[str, Any], clusters: Iterable[Path]
) -> dict[str, Any]:
    """The seconds and the status of each cell, as papermill has them, and what the events of each
    cluster say that was made meanwhile."""
    codes = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    return {
        "parameters": dict(parameters),
        "cells": [_cell(cell) for cell in codes],
        "clusters": [cluster(folder) for folder in clusters],
    }


def _cell(cell: Any) -> dict[str, Any]:
    ran = cell.metadata.get("papermill", {})
    told = {"seconds": ran.get("duration"), "status": ran.get("status")}
    return {"execution_count": cell.execution_count, **told}


def cluster(folder: Path) -> dict[str, Any]:
    """`folder` is that of its events. `steps` is how many the rank has told of that has told most,
    in all runs of the cluster; a view counts once, whoever installs it."""
    happened = events.read(folder / "events")
    steps = Counter(event.rank for event in happened if event.kind == "step")
    numbers: dict[str, set[object]] = {kind: set() for kind in COUNTED}
    for i, event in enumerate(happened):
        if event.kind in COUNTED:
            numbers[event.kind].add(event.data["number"] if event.kind == "view" else i)
    return {
        "folder": folder.name,
        "seconds": round(happened[-1].time - happened[0].time, 3) if happened else 0.0,
        "members": len({event.rank for event in happened if event.rank >= 0}),
        "steps": max(steps.values(), default=0),
        **{name: len(numbers[kind]) for kind, name in COUNTED.items()},
    }
