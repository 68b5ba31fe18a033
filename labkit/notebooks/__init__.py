"""Notebooks as files: built from their sources, run with other parameters, opened in JupyterLab.

Imported by the command line only; the notebooks themselves need nothing of it.
"""

from __future__ import annotations

from pathlib import Path

import labkit

REPOSITORY = Path(labkit.__file__).parents[1]
NOTEBOOKS = REPOSITORY / "notebooks"


QUIET_KERNEL = ["--IPKernelApp.log_level=50"]
"""A kernel warns at every start that it talks to this machine over plain TCP, and calls it an error
that it is interrupted at its end. What a cell prints and raises is in the notebook."""


class NotebookError(Exception):
    """A sentence for the person at the command line: which notebook, what is wrong, what to do."""


def find(names: list[str], folder: Path, pattern: str = "[0-9][0-9]_*.ipynb") -> list[Path]:
    """The files in `folder` that `names` mean: a number (02), a file's stem, or a path; all of
    them, in the order of the course, without names."""
    files = sorted(folder.glob(pattern))
    if not names:
        if not files:
            raise NotebookError(f"{folder} holds no notebook: run this in a clone of the lab.")
        return files
    return [_find_one(name, files, folder) for name in names]


def _find_one(name: str, files: list[Path], folder: Path) -> Path:
    if Path(name).suffix == (files[0].suffix if files else ".ipynb") and Path(name).is_file():
        return Path(name)
    number = name.zfill(2) if name.isdigit() else name
    found = [file for file in files if file.stem == name or file.stem.split("_")[0] == number]
    if len(found) != 1:
        known = ", ".join(file.stem for file in files) or "none yet"
        raise NotebookError(f"There is no notebook {name!r} in {folder}; there are: {known}.")
    return found[0]
