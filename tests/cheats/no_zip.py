"""A file that only claims to be a zip."""

from pathlib import Path

POINTS = 0


def build(folder: Path, right: str) -> Path:
    path = folder / "no_zip.zip"
    path.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 40)
    return path
