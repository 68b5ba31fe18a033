"""A zip whose notebook would be unpacked somewhere else."""

import zipfile
from pathlib import Path

POINTS = 0


def build(folder: Path, right: str) -> Path:
    path = folder / "path_traversal.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../escaped.ipynb", right)
        archive.writestr("/tmp/escaped.ipynb", right)
    return path
