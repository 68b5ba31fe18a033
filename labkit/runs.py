"""`runs/`: where clusters and notebooks leave their record, and how large it may grow."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

LIMIT = 2 << 30
"""Bytes below `runs/`; LABKIT_RUNS_LIMIT sets another limit."""

_count = itertools.count(1)
_pruned: set[Path] = set()


def root() -> Path:
    """`runs/` in the current directory, or the directory that LABKIT_RUNS names."""
    return Path(os.environ.get("LABKIT_RUNS", "runs")).absolute()


def new_run(below: Path | None = None) -> Path:
    """A new directory for one run, named by the time. The first one of this process makes room: a
    process that lives loses none of its runs, so there is little to find later, and to look takes
    longer than to start a cluster when there are many."""
    below = root() if below is None else below
    if below not in _pruned:
        _pruned.add(below)
        prune(below)
    name = f"{time.strftime('%Y-%m-%dT%H-%M-%S')}-{os.getpid()}-{next(_count)}"
    path = below / name
    path.mkdir(parents=True)
    return path


def prune(
    root: Path,
    limit: int | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> list[Path]:
    """Removes the oldest runs until the rest is below the limit, and says which. What begins with a
    dot is no run."""
    if limit is None:
        limit = int(os.environ.get("LABKIT_RUNS_LIMIT", LIMIT))
    runs = sorted((p for p in root.glob("[!.]*") if p.is_dir() and not _in_use(p)), key=_changed)
    sizes = {run: _size(run) for run in runs}
    dropped = []
    while runs and sum(sizes[run] for run in runs) > limit:
        oldest = runs.pop(0)
        shutil.rmtree(oldest, ignore_errors=True)
        dropped.append(oldest)
    if dropped:
        names = ", ".join(path.name for path in dropped)
        say(f"{root} had grown over {limit >> 20} MB: dropped its oldest runs, {names}")
    return dropped


def _in_use(run: Path) -> bool:
    """The process that made it lives; another process may have got its number since, and then the
    run is dropped later."""
    parts = run.name.split("-")
    return len(parts) > 2 and parts[-2].isdigit() and psutil.pid_exists(int(parts[-2]))


def _changed(run: Path) -> float:
    try:
        return run.stat().st_mtime
    except FileNotFoundError:  # dropped by another process
        return 0.0


def _size(directory: Path) -> int:
    total = 0
    for folder, _, files in os.walk(directory):
        for file in files:
            try:
                total += os.lstat(os.path.join(folder, file)).st_size
            except FileNotFoundError:  # a run that is being written, or dropped by another process
                continue
    return total
