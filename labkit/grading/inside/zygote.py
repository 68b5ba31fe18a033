"""The mother of all jails: a process that has imported torch once and forks a jail in milliseconds.

It has one thread, runs none of torch's operations, and knows nothing worth stealing: an empty
environment, no answers, no student's code. What it has in memory its jails have, too.

    grader ── start, end ──> zygote ── fork ──> jailer ── fork ──> rank 0, rank 1, …

With namespaces the jailer's child is process 1 of the jail and the parent of the ranks: with it
they all die. Whoever loses its parent dies; the zygote ends when the grader's end of its socket
closes, however that came about.

On the socket: `["start", walls]` with descriptors (what the jail prints, what is said of ended
ranks, one socket for each rank), answered by `["started", pid]`; `["end"]`, answered by
`["ended"]`.
"""

from __future__ import annotations

import array
import gc
import os
import resource
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from labkit.grading.inside import confine, inmate, seccomp
from labkit.grading.inside.channel import Channel
from labkit.grading.inside.confine import Walls

PRELOADED = (
    "bisect collections contextlib copy dataclasses enum fractions functools hashlib heapq inspect "
    "io itertools json linecache logging math operator queue random re statistics string struct "
    "textwrap threading time traceback types typing zlib numpy.linalg torch.nn.functional"
)
"""What answers import. A jail without a root of its own may be unable to read Python's files."""


def main(descriptor: int) -> None:
    """Serves the grader at the other end of the socket `descriptor` until that closes."""
    for name in PRELOADED.split():
        __import__(name)
    # An editable install finds the whole lab wherever it is; a jail has what stands on its path.
    sys.meta_path[:] = [finder for finder in sys.meta_path if "_frozen" in repr(finder)]
    gc.collect()
    gc.freeze()  # else a jail's first collection copies every page that holds an object
    control = socket.socket(fileno=descriptor)
    jailer = 0
    try:
        control.sendall(b"ready")
        while True:
            request, descriptors = receive(control)
            if jailer:
                end(jailer)
                jailer = 0
            if request[0] == "start":
                jailer = fork(msgspec.convert(request[1], Walls), control, descriptors)
            control.sendall(b"done")
    except (EOFError, ConnectionError):  # an answer that nobody has read makes an end a reset
        if jailer:
            end(jailer)
        # The grader may have been killed, and this is what it would have left behind.
        folder = Path(__file__).parents[4]  # above room/labkit/grading/inside
        if folder.name.startswith("labkit-jail-"):
            shutil.rmtree(folder, ignore_errors=True)


def receive(control: socket.socket) -> tuple[list, list[int]]:
    """One request is one message of a SOCK_SEQPACKET or one write of a stream: they alternate with
    answers. Raises EOFError."""
    room = socket.CMSG_SPACE(64 * array.array("i").itemsize)
    body, messages, _, _ = control.recvmsg(1 << 16, room)
    if not body:
        raise EOFError
    descriptors = array.array("i")
    for level, kind, data in messages:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return msgspec.msgpack.decode(body), list(descriptors)


def fork(walls: Walls, control: socket.socket, descriptors: list[int]) -> int:
    pid = os.fork()
    if pid == 0:
        control.close()
        try:
            become_jailer(walls, descriptors)
        except BaseException as error:
            give_up(descriptors[2], error)
    for descriptor in descriptors:
        os.close(descriptor)
    return pid


def end(jailer: int) -> None:
    """The whole group, and with process 1 its namespace. The jailer was not reaped yet, so its
    number is its own."""
    for kill in (os.killpg, os.kill):
        try:
            kill(jailer, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    os.waitpid(jailer, 0)


def give_up(descriptor: int, error: BaseException) -> NoReturn:
    text = error.strerror if isinstance(error, OSError) and error.strerror else f"{error}"
    try:
        Channel(socket.socket(fileno=descriptor)).send("broken", text)
    finally:
        os._exit(1)


def become_jailer(walls: Walls, descriptors: list[int]) -> NoReturn:
    os.setsid()
    confine.die_with_parent()
    printed, ended, *channels = descriptors
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (printed, 1), (printed, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(printed)
    if sys.platform == "linux":  # torch's libraries are mapped already, and do not count
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        walls = msgspec.structs.replace(walls, memory=mapped + walls.memory)
    if walls.level == "namespace":
        confine.apart(root=bool(walls.uid))
        child = os.fork()
        if child:
            for descriptor in (ended, *channels):
                os.close(descriptor)
            os.waitpid(child, 0)
            os._exit(0)
        confine.die_with_parent()
        confine.furnish(walls)
    else:
        os.chdir("/")
    watch(walls, ended, channels)


def watch(walls: Walls, ended: int, channels: list[int]) -> NoReturn:
    """Forks the ranks, becomes as powerless as they are, and tells how each of them ends."""
    ranks = {}
    for rank, channel in enumerate(channels):
        pid = os.fork()
        if pid == 0:
            os.close(ended)
            for other in channels:
                if other != channel:
                    os.close(other)
            become_rank(walls, channel)
        ranks[pid] = rank
    for channel in channels:
        os.close(channel)
    confine.humble(walls)
    confine.die_with_parent()
    while ranks:
        pid, status = os.wait()
        if pid in ranks:
            code = os.waitstatus_to_exitcode(status)
            os.write(ended, f"{ranks.pop(pid)} {code}\n".encode())
    os._exit(0)


def become_rank(walls: Walls, channel: int) -> NoReturn:
    try:
        if walls.level == "namespace" and not walls.network:
            confine.private(walls)
        confine.humble(walls)
        confine.die_with_parent()
        confine.bounded(walls)
        seccomp.install(walls.network, writing=walls.level == "namespace")
    except BaseException as error:
        give_up(channel, error)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        inmate.serve(Channel(socket.socket(fileno=channel)))
    except BaseException:  # of the grader's end: nobody is left to be told
        os._exit(1)
    os._exit(0)
