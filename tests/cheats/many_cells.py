"""A notebook with 100 000 cells."""

import json
from pathlib import Path

POINTS = 0


def build(folder: Path, right: str) -> Path:
    path = folder / "many_cells.ipynb"
    cells = json.loads(right)["cells"] * 100_000
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5}))
    return path
