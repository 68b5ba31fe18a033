"""A started process as its driver sees it: the pipe with its output, and its end."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path

import psutil

import labkit
from labkit.runtime.loop import Loop

OnOutput = Callable[[int | None, str], None]
"""Called with a rank and one line of what it printed, without the line's end; with None for the
words of a program that starts ranks, which are none of theirs."""
OnExit = Callable[["Process", int], None]
"""Called with the process and its exit code; minus the signal's number when a signal ended it."""

MAX_LINE = 64 << 10
QUIET = {"TORCH_CPP_LOG_LEVEL": "FATAL"}
"""For processes that import torch, unless the user has set it: what Gloo's C++ writes when it
cannot connect it also raises, and where a group is left while it is formed that is no error."""


def python(module: str) -> list[str]:
    """The command that runs a module of the lab, with `import_path()`. `-P`: not the one of another
    checkout in which the driver happens to stand."""
    return [sys.executable, "-P", "-m", module]


def worker(join: str) -> list[str]:
    """The command of a worker on any host, which runs `LABKIT_PREFIX` first: `apptainer exec --nv
    lab.sif`, for those who work in a container."""
    prefix = shlex.split(os.environ.get("LABKIT_PREFIX", ""))
    return [*prefix, *python("labkit.worker"), "--join", join]


def import_path() -> str:
    """PYTHONPATH of a Python that is to import what this process imports, and the same lab."""
    path = [entry or os.getcwd() for entry in sys.path]
    found = PathFinder.find_spec("labkit", path)
    if found is None or found.origin != labkit.__file__:  # a hook found it, or a path now gone
        path.insert(0, str(Path(labkit.__file__).parents[1]))
    return os.pathsep.join(path)


class Process:
    """The process of one worker, or of a launcher that holds several: `members` are its
    (rank, life). The end is reported once the output has been read to its own end, so that a
    worker's last words come before the news of its death."""

    def __init__(
        self,
        members: list[tuple[int, int]],
        loop: Loop,
        output: int,
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> None:
        self.members, self.loop, self.output = members, loop, output
        self.rank = members[0][0]
        self.on_output, self.on_exit = on_output, on_exit
        self.code: int | None = None
        self._process: psutil.Process | None = None
        self._open = True
        self._partial = b""
        os.set_blocking(output, False)
        loop.call_soon(loop.watch, output, self._read)

    def began(self, pid: int) -> None:
        """This is its number."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process = psutil.Process(pid)

    def end(self) -> None:
        """SIGKILL, if it still lives. Whoever waits for it may have done so: its number may be
        another's, which psutil sees by when that began."""
        if self._process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._process.kill()

    def become(self, member: tuple[int, int]) -> None:
        """What it says, and its end, is that of `member` from now on. The loop's thread only."""
        self.members, self.rank = [member], member[0]

    def _read(self, mask: int) -> bool:
        """Takes what is in the pipe; false when there was nothing."""
        try:
            data = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return False
        if not data:
            self._end_output()
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > MAX_LINE:
            lines, self._partial = [*lines, self._partial], b""
        for line in lines:
            self.on_output(self.rank, line.decode(errors="replace"))
        return True

    def _end_output(self) -> None:
        if self._open:
            self._open = False
            if self._partial:
                self.on_output(self.rank, self._partial.decode(errors="replace"))
            self.loop.unwatch(self.output)
            os.close(self.output)

    def exited(self, code: int) -> None:
        """The loop's thread only."""
        self.code = code
        while self._open and self._read(0):
            pass
        self._end_output()  # a child of the worker may hold the pipe open for longer
        self.on_exit(self, code)
