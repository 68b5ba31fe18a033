"""A zip of some kilobytes that unpacks to half a gigabyte."""

import zipfile
from pathlib import Path

POINTS = 0


def build(folder: Path, right: str) -> Path:
    path = folder / "zip_bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("bomb.ipynb", "w") as member:
            for _ in range(64):
                member.write(bytes(1 << 23))
        archive.writestr("mine.ipynb", right)
    return path
