"""What a notebook's kernel knows about the cell that is running."""

from __future__ import annotations

import sys
import weakref
from typing import Any

_made: dict[str, tuple[int, list[weakref.ref[Any]]]] = {}
"""For each cell: its latest execution count, and what was made in that execution."""


def current_cell() -> tuple[str, int] | None:
    """The running cell's id and execution count; None outside of a notebook.

    The id is what JupyterLab sends with the code (`cellId` in the request's metadata).
    """
    if "IPython" not in sys.modules:
        return None
    shell = sys.modules["IPython"].get_ipython()
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    parent = kernel.get_parent("shell")
    cell = (parent or {}).get("metadata", {}).get("cellId")
    return None if cell is None else (cell, shell.execution_count)


def replaces_that_of_its_cell(cluster: Any) -> None:
    """Closes what an earlier execution of the running cell made. References that a notebook keeps
    without being asked, such as `Out[3]`, would hold it for ever."""
    now = current_cell()
    if now is None:
        return
    cell, count = now
    earlier, made = _made.get(cell, (count, []))
    if earlier != count:
        for old in [ref() for ref in made]:
            if old is not None:
                old.close()
        made = []
    _made[cell] = count, [*made, weakref.ref(cluster)]
