"""Cells of every type but the right one, and half a character."""

import json
from pathlib import Path

POINTS = 0


def build(folder: Path, right: str) -> Path:
    path = folder / "odd_cells.ipynb"
    sources = [None, 7, [1, 2], {"a": 1}, "# exercise: commit.1\n\ud800 = 1", "# exercise: no.1"]
    cells = [None, "cell", {}, *({"cell_type": "code", "source": s} for s in sources)]
    path.write_text(json.dumps({"cells": cells}))
    return path
