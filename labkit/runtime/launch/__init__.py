"""Who starts the workers: `local` (the lab's fork server), also on hosts of their own, `mpi`
(`mpiexec`), `torchrun` (an elastic agent a rank), `slurm` (`srun`), or somebody `outside`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from labkit.runtime.launch.launcher import Launcher
from labkit.runtime.loop import Loop

NAMES = ("local", "mpi", "torchrun", "slurm", "outside")


def launcher_for(
    name: str, hosts: str | None = None, seed: int = 0, world_size: int = 1, max_restarts: int = 0
) -> Callable[[Loop], Launcher]:
    """The launcher of that name; raises ValueError for another one, or for what it cannot do, and
    PermissionError for what this process may not do."""
    if hosts is not None:
        return _on_hosts(name, hosts, seed)
    match name:
        case "local":
            from labkit.runtime.launch.local import LocalLauncher

            return LocalLauncher
        case "mpi":
            from labkit.runtime.launch.mpi import MpiLauncher

            return MpiLauncher
        case "torchrun":
            from labkit.runtime.launch.torchrun import TorchrunLauncher

            return partial(TorchrunLauncher, world_size=world_size, max_restarts=max_restarts)
        case "slurm":
            from labkit.runtime.launch.slurm import SlurmLauncher

            return SlurmLauncher
        case "outside":
            from labkit.runtime.launch.outside import OutsideLauncher

            return OutsideLauncher
    raise ValueError(f"unknown launcher {name!r}: use one of {', '.join(NAMES)}")


def machines_of(name: str) -> int:
    """How many machines the workers of that launcher will have."""
    match name:
        case "mpi":
            from labkit.runtime.launch.mpi import host_file

            return len(host_file()) or 1
        case "slurm" if "SLURM_JOB_ID" in os.environ:
            from labkit.runtime.launch.slurm import nodes_up

            return len(nodes_up())
    return 1


def _on_hosts(name: str, hosts: str, seed: int) -> Callable[[Loop], Launcher]:
    from labkit.runtime.launch.hosts import HostsLauncher
    from labkit.runtime.launch.namespaces import why_not

    if hosts != "namespaces":
        raise ValueError(f"unknown hosts {hosts!r}: leave it out, or use 'namespaces'")
    if name != "local":
        raise ValueError(f'hosts="namespaces" goes with launcher="local", not with {name!r}')
    if reason := why_not():
        raise PermissionError(reason)
    return partial(HostsLauncher, seed=seed)
