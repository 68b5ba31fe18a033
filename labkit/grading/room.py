"""What there is in a jail: a part of the package, the folders of Python, and an environment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy
import torch

import labkit
from labkit.grading.inside.confine import HOME

ROOM = (
    "__init__.py",
    "events.py",
    "faults",
    "disk.py",
    "protocols/effects.py",
    "protocols/raft/messages.py",
    "protocols/two_phase_commit/messages.py",
    "collectives/link.py",
    "collectives/polling.py",
    "collectives/links/torch_p2p.py",
    "grading/inside",
)
"""What of the package exists in a jail: the vocabulary of the exercises, and no answers."""


def furnish_room(folder: Path) -> None:
    """Copies the package as far as a jail may see it."""
    package = Path(labkit.__file__).parent
    for name in ROOM:
        source, target = package / name, folder / "labkit" / name
        if not source.exists():
            source, target = source.with_suffix(".py"), target.with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    for parent in [path for path in (folder / "labkit").rglob("*") if path.is_dir()]:
        (parent / "__init__.py").touch()
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def readable(room: Path) -> tuple[str, ...]:
    """The folders that Python, torch and the room need, none inside another."""
    homes = {Path(module.__file__ or "").parents[1] for module in (torch, numpy, msgspec)}
    system = {Path(path) for path in ("/usr", "/lib", "/lib64") if Path(path).is_dir()}
    found = {room, Path(sys.base_prefix), Path(sys.prefix), *homes, *system}
    return tuple(str(p) for p in sorted(found) if not any(q in found for q in p.parents))


def hidden(visible: Sequence[str]) -> tuple[str, ...]:
    """The folders of the lab that would be visible: where it is installed among the packages."""
    package = Path(labkit.__file__).parent
    answers = [package, package.parent / "tests", package.parent / "notebooks"]
    seen = {Path(path) for path in visible}
    return tuple(str(p) for p in answers if p.is_dir() and any(q in seen for q in p.parents))


def environment() -> dict[str, str]:
    """What a jail sees: nothing of the grader's own, which may hold keys."""
    found = {
        "PATH": "/usr/bin:/bin",
        "HOME": HOME,
        "TMPDIR": HOME,
        "USER": "student",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",  # else each thread reserves 64 MiB of the address space
        "CUDA_VISIBLE_DEVICES": "",
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
    }
    if path := os.environ.get("LD_LIBRARY_PATH"):  # of a Python that a module system brought
        found["LD_LIBRARY_PATH"] = path
    return found
