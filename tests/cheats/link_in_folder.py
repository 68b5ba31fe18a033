"""A folder with a link to a notebook of somebody else, and one to itself."""

from pathlib import Path

POINTS = 0


def build(folder: Path, right: str) -> Path:
    (folder / "another.ipynb").write_text(right)
    path = folder / "link_in_folder"
    path.mkdir()
    (path / "mine.ipynb").symlink_to(folder / "another.ipynb")
    (path / "again").symlink_to(path)
    return path
