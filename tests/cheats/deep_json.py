"""Brackets in brackets in brackets."""

from pathlib import Path

POINTS = 0


def build(folder: Path, right: str) -> Path:
    path = folder / "deep_json.ipynb"
    path.write_text("[" * 1_000_000)
    return path
