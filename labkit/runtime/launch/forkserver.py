"""A small fork server: one process that has imported torch and forks workers in milliseconds.

It is single-threaded and has run no operation of torch, so that a child begins with no thread
pool, no CUDA context and no lock that a lost thread holds. Children belong to it: when its parent
goes, by whatever signal, it kills them and goes too. Only its main thread forks, because Linux
sends the death signal when the *thread* that forked ends.

All children are in the session of the server, which has no terminal: a Ctrl-C is the driver's
business. A session for each would be slower. Linux shares the cores out between sessions first
(`autogroup`, sched(7)), and then ranks that wait for one another have steps 13 to 15 % longer than
in one session, by measurement.

Requests come on a Unix socket: 4 bytes of length with file descriptors (the child's output, and the
namespaces that it is to enter), then msgpack. What goes back is `("forked", id, pid)`, or
`("refused", id, errno)` when the system has no room for another process, and
`("exited", pid, wait status)`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import random
import selectors
import signal
import socket
import sys
from typing import Any

import msgspec

from labkit.runtime.launch import pages
from labkit.runtime.launch.namespaces import enter

PRELOADED = (
    "encodings.idna",  # the first look-up of any address imports it: 3 ms, in each worker
    "numpy",
    "torch",
    "torch.distributed",
    "torch._dynamo",  # the first optimizer imports it: 0.9 s, in each life of each rank
    "labkit.worker",
    "labkit.collectives.process_group",
    "labkit.runtime.store",
    "labkit.training",
)
PR_SET_PDEATHSIG = 1


class Request(msgspec.Struct):
    """One child: what `labkit.worker.main` is called with, and the world that it finds."""

    id: int
    join: str
    rank: int
    life: int
    environment: dict[str, str]
    directory: str
    path: list[str]


def send(sock: socket.socket, message: Any, descriptors: list[int] | None = None) -> None:
    body = msgspec.msgpack.encode(message)
    socket.send_fds(sock, [len(body).to_bytes(4, "big")], descriptors or [])
    sock.sendall(body)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """One message and its descriptors; raises EOFError when the other end is gone."""
    first, descriptors, _, _ = socket.recv_fds(sock, 4, 4)
    head = first + _exactly(sock, 4 - len(first)) if first else b""
    if not head:
        raise EOFError
    return _exactly(sock, int.from_bytes(head, "big")), list(descriptors)


def _exactly(sock: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        chunk = sock.recv(n - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


class ForkServer:
    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: set[int] = set()
        self.wake_in, self.wake_out = socket.socketpair()
        self.wake_in.setblocking(False)
        self.wake_out.setblocking(False)

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self.wake_out.fileno())
        selector = selectors.DefaultSelector()
        for sock in (self.control, self.wake_in):
            selector.register(sock, selectors.EVENT_READ)
        send(self.control, ("ready", os.getpid(), 0))
        try:
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self.wake_in in ready:
                    self.wake_in.recv(4096)
                    self.reap()
                if self.control in ready:
                    self.fork(*receive(self.control))
        except (EOFError, ConnectionError):
            for pid in self.children:
                self.kill_group(pid)

    def kill_group(self, pid: int) -> None:
        """A worker and what it has started. The worker has not been reaped, so its number is its
        own still."""
        for kill in (os.killpg, os.kill):  # it leads a group, unless it has only just begun
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)

    def reap(self) -> None:
        for pid in list(self.children):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            self.kill_group(pid)
            self.children.discard(pid)
            send(self.control, ("exited", pid, os.waitpid(pid, 0)[1]))

    def fork(self, body: bytes, descriptors: list[int]) -> None:
        request = msgspec.msgpack.decode(body, type=Request)
        try:
            pid = os.fork()
        except OSError as error:  # too many processes, too little memory
            os.write(descriptors[0], f"cannot fork: {error}\n".encode())
            for descriptor in descriptors:
                os.close(descriptor)
            send(self.control, ("refused", request.id, error.errno))
            return
        if pid == 0:
            self.become_worker(request, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self.children.add(pid)
        send(self.control, ("forked", request.id, pid))

    def become_worker(self, request: Request, output: int, *namespaces: int) -> None:
        try:
            die_with_parent()
            os.setpgid(0, 0)  # with all that it starts
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for sock in (self.control, self.wake_in, self.wake_out):
                sock.close()
            nothing = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((nothing, 0), (output, 1), (output, 2)):
                os.dup2(source, target)
            for namespace in namespaces:
                enter(namespace)
            os.closerange(3, max(nothing, output, *namespaces) + 1)
            os.environ.clear()
            os.environ.update(request.environment)
            os.chdir(request.directory)
            sys.path[:] = request.path
            random.seed()
            from labkit import worker

            worker.main(request.join, request.rank, request.life)
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)


def die_with_parent() -> None:
    """Linux: SIGKILL when the parent ends. Elsewhere the closed connection does it.

    For the children alone: the server's own parent is whichever *thread* asked for it first, and
    that may end long before its process.
    """
    if sys.platform == "linux" and os.environ.get("LABKIT_PORTABLE") != "1":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def prepare() -> None:
    """Does once what each worker would do first. What is here then lives for ever: the collector
    looks for nothing in it while it comes (0.4 s), and need not touch, and so copy, its pages."""
    gc.disable()
    for name in PRELOADED:
        importlib.import_module(name)
    from labkit.runtime.membership import read_types

    read_types()
    gc.collect()
    gc.freeze()
    gc.enable()
    pages.collapse()


if __name__ == "__main__":
    prepare()
    ForkServer(socket.socket(fileno=int(sys.argv[1]))).serve()
