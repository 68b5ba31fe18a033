"""From what somebody hands in to the cells that are graded: by their first line, and nothing else.

A submission is a notebook, a folder or a zip with notebooks in it. Nothing of it is run here, and
nothing of a zip is unpacked to disk. Whatever is wrong with it is a sentence in its record: a
broken submission is one with no points, and no trouble for the others.
"""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from labkit.notebooks.source import mark_of

MOST_BYTES = 20 << 20
"""Of a notebook, a zip, all notebooks in a zip or folder; the lab's own are below 1 MB."""
MOST_FILES = 2_000
MOST_CELLS = 5_000
MOST_SOURCE = 100_000
"""Characters of one exercise's cell."""

Files = Iterable[tuple[str, bytes]]


class Unreadable(Exception):
    """Why nothing can be taken from a submission, or from one of its files."""


@dataclass
class Submission:
    """`cells` by exercise; `problems` are sentences for whoever handed it in."""

    name: str
    cells: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def collect(path: Path, known: Iterable[str]) -> Submission:
    """The cells of `known` exercises in a notebook, a folder or a zip. Never raises for what a
    student can do; raises FileNotFoundError where there is nothing at `path`."""
    submission = Submission(path.stem if path.is_file() else path.name)
    known = set(known)
    if not path.exists():
        raise FileNotFoundError(f"there is no submission {path}")
    found = 0
    try:
        for name, content in notebooks(path, submission.problems):
            found += 1
            try:
                take(name, content, known, submission)
            except Unreadable as error:
                submission.problems.append(f"{name}: {error}")
    except Unreadable as error:
        submission.problems.append(str(error))
    except OSError as error:
        submission.problems.append(f"{path.name} cannot be read: {error.strerror}")
    if not found and not submission.problems:
        submission.problems.append("there is no notebook (.ipynb) in it")
    return submission


def notebooks(path: Path, problems: list[str]) -> Files:
    """(name, content) of each notebook, in the order of their names."""
    if path.is_dir():
        return in_folder(path, problems)
    if path.suffix == ".zip" or zipfile.is_zipfile(path):
        return in_zip(path, problems)
    if path.suffix != ".ipynb":
        raise Unreadable(f"{path.name} is no notebook (.ipynb), folder or zip")
    return [(path.name, read_at_most(path, MOST_BYTES))]


def read_at_most(path: Path, most: int) -> bytes:
    """Of a plain file: a pipe would keep the reader waiting, a device never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable(f"{path.name} is no plain file")
        content = file.read(most + 1)
    if len(content) > most:
        raise Unreadable(f"{path.name} is larger than {most >> 20} MiB")
    return content


def in_folder(folder: Path, problems: list[str]) -> Iterator[tuple[str, bytes]]:
    left, seen = MOST_BYTES, 0
    for home, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            seen += 1
            if seen > MOST_FILES:
                raise Unreadable(f"there are more than {MOST_FILES} files in it")
            path = Path(home, name)
            shown = str(path.relative_to(folder))
            if path.suffix != ".ipynb" or name.startswith("."):
                continue
            if path.is_symlink():
                problems.append(f"{shown} is a link, which is not followed")
                continue
            content = read_at_most(path, left)
            left -= len(content)
            yield shown, content


def in_zip(path: Path, problems: list[str]) -> Iterator[tuple[str, bytes]]:
    """Members are read into memory, never more of them than allowed, whatever the zip says."""
    if path.stat().st_size > MOST_BYTES:
        raise Unreadable(f"{path.name} is larger than {MOST_BYTES >> 20} MiB")
    left = MOST_BYTES
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MOST_FILES:
                raise Unreadable(f"there are more than {MOST_FILES} files in it")
            for member in sorted(members, key=lambda m: m.filename):
                name = PurePosixPath(member.filename)
                hidden = any(part.startswith(".") and part != ".." for part in name.parts)
                if name.suffix != ".ipynb" or hidden or "__MACOSX" in name.parts:
                    continue
                if name.is_absolute() or ".." in name.parts:
                    problems.append(f"{name} points out of the zip, so it was left there")
                    continue
                if stat.S_ISLNK(member.external_attr >> 16):
                    problems.append(f"{name} is a link, which is not followed")
                    continue
                with archive.open(member) as file:
                    content = file.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise Unreadable(f"unpacked it is larger than {MOST_BYTES >> 20} MiB")
                yield str(name), content
    except Unreadable:
        raise
    except Exception as error:  # zipfile has many words for what a hostile zip does
        raise Unreadable(f"{path.name} is no zip that can be read: {error}") from None


def take(name: str, content: bytes, known: set[str], into: Submission) -> None:
    """The cells of one notebook; of several for one exercise the last. Raises Unreadable."""
    for source in code_cells(content):
        exercise = mark_of(source)
        if exercise is None:
            continue
        if exercise not in known:
            into.problems.append(f"{name}: there is no exercise {exercise[:40]} to grade")
        elif len(source) > MOST_SOURCE:
            into.problems.append(f"{name}: the cell of {exercise} is too long")
        else:
            if exercise in into.cells:
                into.problems.append(f"{exercise} has several cells: the last one counts")
            into.cells[exercise] = source


def code_cells(content: bytes) -> list[str]:
    """The texts of a notebook's code cells. Raises Unreadable."""
    try:
        notebook = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Unreadable("it is no notebook: its JSON is broken") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise Unreadable("it is no notebook of format 4: it has no cells")
    if len(cells) > MOST_CELLS:
        raise Unreadable(f"it has {len(cells)} cells; {MOST_CELLS} are read")
    found = []
    for cell in cells:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if isinstance(source, str):  # JSON can hold halves of characters, which UTF-8 cannot
            found.append(source.encode("utf-8", "replace").decode())
    return found
