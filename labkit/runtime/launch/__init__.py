"""Who starts the workers: `local` (the lab's fork server), also on hosts of their own, or `mpi`
(`mpiexec`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from labkit.runtime.loop import Loop


def launcher_for(name: str, hosts: str | None = None, seed: int = 0) -> Callable[[Loop], Any]:
    """The launcher of that name; raises ValueError for another one, or for what it cannot do, and
    PermissionError for what this process may not do."""
    if hosts is not None:
        return _on_hosts(name, hosts, seed)
    if name == "local":
        from labkit.runtime.launch.local import LocalLauncher

        return LocalLauncher
    if name == "mpi":
        from labkit.runtime.launch.mpi import MpiLauncher

        return MpiLauncher
    raise ValueError(f"unknown launcher {name!r}: use 'local' or 'mpi'")


def _on_hosts(name: str, hosts: str, seed: int) -> Callable[[Loop], Any]:
    from labkit.runtime.launch.hosts import HostsLauncher
    from labkit.runtime.launch.namespaces import why_not

    if hosts != "namespaces":
        raise ValueError(f"unknown hosts {hosts!r}: leave it out, or use 'namespaces'")
    if name != "local":
        raise ValueError(f'hosts="namespaces" goes with launcher="local", not with {name!r}')
    if reason := why_not():
        raise PermissionError(reason)
    return partial(HostsLauncher, seed=seed)
