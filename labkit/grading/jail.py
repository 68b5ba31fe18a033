"""The grader's end of a jail: a student's function that can be called as if it were here.

    with Zygote("auto") as zygote, zygote.jail(cell, seconds=5) as function:
        function([1, 2, 3])

Whatever comes back is the student's word; see `labkit.grading.inside.values` for what can come.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from labkit.collectives.link import Link
from labkit.grading.calls import GROUP, Call, raise_if
from labkit.grading.inside.channel import Channel, Ended, Garbled, Late
from labkit.grading.inside.confine import Walls
from labkit.grading.levels import LEVELS
from labkit.grading.ports import Port
from labkit.grading.room import environment, furnish_room, hidden, readable
from labkit.grading.together import together

MEMORY = 1 << 30
FILES = 64 << 20
PRINTED = 4000
"""Characters of what the student's code prints that are kept; the rest is read and dropped."""
SETUID, SYS_ADMIN = 7, 21  # linux/capability.h
START = 60.0
"""Seconds until a zygote has imported torch; 1.5 s on a quiet machine."""
UID = 60_000
"""From here on the jails of one grader have their uids, where the grader is root."""


class JailError(RuntimeError):
    """The grader could not make or keep a jail: nobody's fault in there."""


@dataclass(frozen=True)
class Cell:
    """A student's cell: the exercise's id, its text, and the function that it must define."""

    id: str
    source: str
    function: str


class Zygote:
    """A process that forks jails, one at a time, for one thread of the grader; see
    `labkit.grading.inside.zygote`. `slot` tells the zygotes of one grader apart."""

    def __init__(self, level: str = "auto", slot: int = 0) -> None:
        """Raises JailError where there are no namespaces and `level` insists on them."""
        if level not in ("auto", *LEVELS):
            raise JailError(f"no jail {level!r}: choose auto, {' or '.join(LEVELS)}")
        self.folder = Path(tempfile.mkdtemp(prefix="labkit-jail-"))
        self.folder.chmod(0o711)
        self.uid = UID + slot
        room, self.root = self.folder / "room", self.folder / "root"
        self.root.mkdir(mode=0o755)
        furnish_room(room)
        self.readable = readable(room)
        self.hidden = hidden(self.readable)
        self.printed = self.folder / "zygote.txt"
        self.control, theirs = socket.socketpair()
        code = (
            f"import sys; sys.path.insert(0, {str(room)!r}); "
            f"from labkit.grading.inside.zygote import main; main({theirs.fileno()})"
        )
        with self.printed.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", code],
                pass_fds=[theirs.fileno()],
                env=environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        theirs.close()
        self.control.settimeout(START)
        try:
            self._answered()
            self.level = self._choose(level)
        except BaseException:
            self.close()
            raise

    def _choose(self, level: str) -> str:
        if level == "rlimit":
            return level
        self.level = "namespace"
        try:
            self.jail(None, seconds=START).close()
        except JailError as error:
            if level == "auto":
                return "rlimit"
            raise JailError(
                f"no jail of level namespace here: {error}. Run as root, allow unprivileged user "
                "namespaces, or say --jail rlimit and read what that does not stop."
            ) from None
        return self.level

    def jail(
        self, cell: Cell | None, seconds: float, ranks: int = 1, network: bool = False
    ) -> Jailed:
        """A new jail with the cell in it, to be left within `seconds` (a context manager)."""
        needed = (SETUID, SYS_ADMIN) if self.level == "namespace" else (SETUID,)
        walls = Walls(
            level=self.level,
            uid=self.uid if capable(*needed) else 0,
            root=str(self.root),
            readable=self.readable,
            hidden=self.hidden,
            ranks=ranks,
            network=network,
            memory=MEMORY,
            files=FILES,
            seconds=seconds,
        )
        return Jailed(self, walls, cell)

    def request(self, *request: Any, descriptors: Sequence[int] = ()) -> None:
        """Asks the zygote and waits until it has done so. Raises JailError."""
        body = msgspec.msgpack.encode(request)
        try:
            socket.send_fds(self.control, [body], list(descriptors))
        except OSError:
            raise JailError(f"the zygote is gone: {self._said()}") from None
        self._answered()

    def _answered(self) -> None:
        try:
            if self.control.recv(64):
                return
        except OSError:
            pass
        raise JailError(f"the zygote is gone: {self._said()}")

    def _said(self) -> str:
        lines = self.printed.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def close(self) -> None:
        """Ends the zygote, and with it whatever still runs in its jail."""
        self.control.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, kind: Any, error: Any, trace: TracebackType | None) -> None:
        self.close()


def capable(*capabilities: int) -> bool:
    """Whether this process has these powers of root; not every root has, in a container."""
    if sys.platform != "linux":
        return os.geteuid() == 0
    status = Path("/proc/self/status").read_text()
    effective = int(re.search(r"^CapEff:\s*(\w+)$", status, re.MULTILINE)[1], 16)  # type: ignore[index]
    return all(effective >> capability & 1 for capability in capabilities)


class Jailed:
    """A student's function in its jail. Calling it raises StudentError where the answer raises,
    Ended, Late or Garbled where it does not answer, and what a port raised.

    With several ranks a call goes to the rank of the link, or the worker, among its arguments.
    """

    def __init__(self, zygote: Zygote, walls: Walls, cell: Cell | None) -> None:
        self.zygote, self.walls = zygote, walls
        self.text = b""
        self.statuses: dict[int, int] = {}
        self.told = threading.Event()
        pairs = [socket.socketpair() for _ in range(walls.ranks)]
        printed, printing = os.pipe()
        ended, ending = os.pipe()
        theirs = [printing, ending, *(pair[1].fileno() for pair in pairs)]
        try:
            zygote.request("start", msgspec.to_builtins(walls), descriptors=theirs)
        finally:
            os.close(printing)
            os.close(ending)
            for pair in pairs:
                pair[1].close()
        self.channels = [Channel(ours) for ours, _ in pairs]
        self.unused = iter(self.channels)
        self.readers = [
            threading.Thread(target=reads, args=(descriptor,), daemon=True)
            for descriptor, reads in ((printed, self._read_printed), (ended, self._read_ended))
        ]
        for reader in self.readers:
            reader.start()
        try:
            self._enter(cell)
        except BaseException:
            self.close()
            raise

    def _enter(self, cell: Cell | None) -> None:
        for channel in self.channels:
            channel.deadline = time.monotonic() + START
        for channel in self.channels:
            try:
                answer = channel.receive()
            except (Ended, Late, Garbled) as error:
                raise JailError(f"a jail ended before it began ({error or 'no reason'})") from None
            if answer != ["ready"]:
                raise JailError(str(answer[1]))
        for channel in self.channels:
            channel.deadline = time.monotonic() + self.walls.seconds
        if cell is not None:
            for channel in self.channels:
                channel.send("load", cell.id, cell.source, cell.function)
            for channel in self.channels:
                raise_if(channel.receive(), "loaded")

    def __call__(self, *arguments: Any) -> Any:
        ranks = [a.rank for a in arguments if isinstance(a, Link | Port) and hasattr(a, "rank")]
        return Call(self.channels[ranks[0] if ranks else 0], arguments).run()

    def on_ranks(self, arguments: Sequence[tuple]) -> list[Any]:
        """`function(link, *arguments[rank])` on all ranks at once, over Gloo between them."""
        size = len(arguments)
        seconds = self.walls.seconds
        channels = self.channels[:size]
        channels[0].send("gloo", 0, size, 0, seconds)
        port = raise_if(channels[0].receive(), "value")[1]
        for rank, channel in enumerate(channels):
            channel.send("gloo", rank, size, port, seconds)
        for channel in channels:
            raise_if(channel.receive(), "value")
        pairs = zip(channels, arguments, strict=True)
        return together([Call(c, (GROUP, *a)).run for c, a in pairs], self._hang_up)

    def _hang_up(self) -> None:
        for channel in self.channels:
            with contextlib.suppress(OSError):
                channel.socket.shutdown(socket.SHUT_RDWR)

    def why_ended(self) -> str:
        """What is known of ranks that ended too soon, for a sentence."""
        self.told.wait(1.0)
        for rank, code in sorted(self.statuses.items()):
            how = f"by signal {-code}" if code < 0 else f"with status {code}"
            return f"rank {rank} ended {how}" if self.walls.ranks > 1 else f"it ended {how}"
        return "it ended"

    def close(self) -> None:
        """Ends all of it; returns when nothing of it is left."""
        for channel in self.channels:
            channel.socket.close()
        self.zygote.request("end")
        for reader in self.readers:
            reader.join()

    def _read_printed(self, descriptor: int) -> None:
        with open(descriptor, "rb", buffering=0) as stream:
            while part := stream.read(1 << 16):
                self.text = (self.text + part)[:PRINTED]

    def _read_ended(self, descriptor: int) -> None:
        with open(descriptor, "rb") as stream:
            for line in stream:
                rank, code = line.split()
                self.statuses[int(rank)] = int(code)
                self.told.set()

    def __enter__(self) -> Jailed:
        return self

    def __exit__(self, kind: Any, error: Any, trace: TracebackType | None) -> None:
        self.close()
