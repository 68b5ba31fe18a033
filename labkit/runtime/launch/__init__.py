"""Who starts the workers: `local` (the lab's fork server) or `mpi` (`mpiexec`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.runtime.loop import Loop


def launcher_for(name: str) -> Callable[[Loop], Any]:
    """The launcher of that name; raises ValueError for another one."""
    if name == "local":
        from labkit.runtime.launch.local import LocalLauncher

        return LocalLauncher
    if name == "mpi":
        from labkit.runtime.launch.mpi import MpiLauncher

        return MpiLauncher
    raise ValueError(f"unknown launcher {name!r}: use 'local' or 'mpi'")
