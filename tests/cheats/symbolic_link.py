"""A zip with a link to a notebook of somebody else."""

import zipfile
from pathlib import Path

POINTS = 0


def build(folder: Path, right: str) -> Path:
    """`right` is the text of a notebook with the right answer."""
    (folder / "other.ipynb").write_text(right)
    path = folder / "symbolic_link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("mine.ipynb")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(folder / "other.ipynb"))
    return path
