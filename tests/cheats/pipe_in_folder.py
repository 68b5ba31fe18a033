"""A named pipe in the place of a notebook: who reads it waits for ever."""

import os
from pathlib import Path

POINTS = 0


def build(folder: Path, right: str) -> Path:
    path = folder / "pipe_in_folder"
    path.mkdir()
    os.mkfifo(path / "mine.ipynb")
    return path
