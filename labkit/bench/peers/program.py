"""A program that is measured: its words, its deadline, and the end of all its processes."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
MARK = "LABKIT_BENCH_MARK"
MEMORY = "/dev/shm"
WHERE_ALONE = "in an empty network namespace (unshare -n), where no DNS look-up stalls TCPStore"
WHERE_NOT = "beside the network: unshare is not allowed here, so DNS may stall TCPStore for 5 s"


def script(name: str) -> str:
    return str(HERE / f"{name}.py")


def tool(name: str) -> str | None:
    """A program of this Python's environment (torchrun, mpiexec), else of the PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


@functools.cache
def unshare() -> tuple[str, ...]:
    """The words before a command that give it an empty network namespace; none if not allowed."""
    program = shutil.which("unshare")
    for flags in ("-n", "-rn"):
        if (
            program
            and subprocess.run([program, flags, "true"], capture_output=True).returncode == 0
        ):
            return (program, flags)
    return ()


def where() -> str:
    """A sentence for the reader of the figures."""
    return WHERE_ALONE if unshare() else WHERE_NOT


class Program:
    """A running peer: its words as they come, up to its deadline; leaving the block ends all of it.

    Every process that it starts inherits a mark in its environment, by which all of them are found
    at the end, wherever they went (torchrun puts each worker into a session of its own).
    """

    def __init__(
        self,
        *command: str,
        seconds: float,
        network: bool = True,
        environment: Mapping[str, str] | None = None,
        told: bool = False,
    ) -> None:
        """`told`: it waits for what it is told (`tell`)."""
        self.deadline = time.monotonic() + seconds
        self.mark = uuid.uuid4().hex
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        # Of an mpiexec, if it is one: killed, it leaves its files and what its ranks share behind.
        memory = MEMORY if os.access(MEMORY, os.W_OK) else None
        self.files = tempfile.TemporaryDirectory(prefix="labkit-bench-", dir=memory)
        namespace = () if network else unshare()
        start = [*namespace, sys.executable, "-IS", script("start"), str(bool(namespace))]
        quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore"}
        for setting in ("PRTE_MCA_prte_tmpdir_base", "OMPI_MCA_btl_sm_backing_directory"):
            quiet[setting] = self.files.name
        self.process = subprocess.Popen(
            [*start, str(int(seconds) + 5), *command],
            stdin=subprocess.PIPE if told else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={**os.environ, **quiet, **(environment or {}), MARK: self.mark},
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        end_marked(self.mark)
        self.process.wait()
        for pipe in filter(None, (self.process.stdin, self.process.stdout)):
            pipe.close()
        self.errors.close()
        self.files.cleanup()

    def tell(self, word: str) -> None:
        """A line on its standard input; of one that has ended `words` says so."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            os.write(self.process.stdin.fileno(), word.encode() + b"\n")

    def words(self) -> Iterator[dict[str, Any]]:
        """What the program says, one dictionary a line, until it ends. TimeoutError when late."""
        assert self.process.stdout is not None
        source, rest = self.process.stdout.fileno(), b""
        while True:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([source], [], [], left)[0]:
                raise TimeoutError(f"the peer said no more by its deadline; {self.complaint()}")
            chunk = os.read(source, 65536)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines if line.startswith(b"{"))

    def complaint(self) -> str:
        """The last line that the program wrote to its standard error."""
        self.errors.flush()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        return f"its last words: {lines[-1][:300]}" if lines else "it gave no reason"


def marked(mark: str) -> list[psutil.Process]:
    """All living processes that carry the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):  # ended meanwhile, or somebody else's
            continue
    return found


def end_marked(mark: str, seconds: float = 10.0) -> None:
    """Kills them all, again until none is left: a launcher may be starting the next one."""
    deadline = time.monotonic() + seconds
    while left := marked(mark):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {[p.pid for p in left]} do not end: kill them by hand.")
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.01)  # not psutil's wait, which would take the exit code from its Popen
