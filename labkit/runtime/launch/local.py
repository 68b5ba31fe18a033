"""Workers on this machine, forked by the lab's fork server."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import msgspec

from labkit.runtime.launch import forkserver
from labkit.runtime.launch.launcher import Launcher
from labkit.runtime.launch.process import QUIET, OnExit, OnOutput, Process, import_path, python
from labkit.runtime.loop import Loop

START_SECONDS = 60.0
EXIT_SECONDS = 2.0


class LocalLauncher(Launcher):
    """Starts workers through the one fork server of this process, which starts at first use."""

    name = "local"

    def namespaces(self, rank: int) -> list[int]:
        """Descriptors of what the process of this rank is to enter."""
        return []

    def start(
        self,
        join: str,
        ranks: list[tuple[int, int]],
        environment: dict[str, str],
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> list[Process]:
        server = _server(self.loop)
        processes = []
        for rank, life in ranks:
            reading, writing = os.pipe()
            process = Process([(rank, life)], self.loop, reading, on_output, on_exit)
            server.fork(process, join, environment, [writing, *self.namespaces(rank)])
            os.close(writing)
            processes.append(process)
        return processes


class _Server:
    """This process's end of the fork server."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.ids = itertools.count()
        self.asked: dict[int, Process] = {}
        self.running: dict[int, Process] = {}
        self.lock = threading.Lock()
        self.owner = os.getpid()
        self.ended = False
        ours, theirs = socket.socketpair()
        environment = {**QUIET, **os.environ, "PYTHONPATH": import_path()}
        with tempfile.TemporaryFile() as words:
            self.process = subprocess.Popen(
                [*python("labkit.runtime.launch.forkserver"), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                env=environment,
                start_new_session=True,
            )
            theirs.close()
            ours.settimeout(START_SECONDS)
            try:
                forkserver.receive(ours)
            except (EOFError, OSError) as error:
                words.seek(0)
                raise RuntimeError(
                    "the fork server did not start: check that `python -c 'import labkit, torch'` "
                    f"works here. It said:\n{words.read().decode(errors='replace')}"
                ) from error
        ours.settimeout(None)
        self.control = ours
        loop.call_soon(loop.watch, ours, self.on_news)

    def fork(
        self, process: Process, join: str, environment: dict[str, str], descriptors: list[int]
    ) -> None:
        """The child's output goes to the first descriptor, and the others are its namespaces."""
        with self.lock:
            id = next(self.ids)
            self.asked[id] = process
            directory = os.getcwd()
            request = forkserver.Request(
                id, join, *process.members[0], environment, directory, sys.path
            )
            forkserver.send(self.control, request, descriptors)

    def on_news(self, mask: int) -> None:
        try:
            kind, number, value = msgspec.msgpack.decode(forkserver.receive(self.control)[0])
        except (EOFError, OSError):
            return self.on_end()
        if kind == "forked":
            process = self.asked.pop(number)
            process.began(value)
            self.running[value] = process
        elif kind == "refused":
            self.asked.pop(number).exited(value)
        elif number in self.running:
            self.running.pop(number).exited(os.waitstatus_to_exitcode(value))

    def on_end(self) -> None:
        """The fork server died, and by its death signal its children with it."""
        self.ended = True
        self.loop.unwatch(self.control)
        self.control.close()
        for process in [*self.running.values(), *self.asked.values()]:
            process.exited(-signal.SIGKILL)
        self.running.clear()

    @property
    def alive(self) -> bool:
        return self.owner == os.getpid() and not self.ended and self.process.poll() is None

    def close(self) -> None:
        if self.owner == os.getpid():
            with contextlib.suppress(OSError):
                self.control.shutdown(socket.SHUT_RDWR)
            try:
                self.process.wait(EXIT_SECONDS)
            except subprocess.TimeoutExpired:  # it stands still
                self.process.kill()
                self.process.wait()


_lock = threading.Lock()
_current: _Server | None = None


def get_ready(loop: Loop) -> None:
    """Starts this process's fork server unless it runs. Raises RuntimeError with what it said."""
    _server(loop)


def _server(loop: Loop) -> _Server:
    global _current
    with _lock:
        if _current is None or not _current.alive:
            _current = _Server(loop)
            atexit.register(_current.close)
        return _current
