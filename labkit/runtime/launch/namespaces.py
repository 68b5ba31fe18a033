"""Network namespaces: hosts of their own on one machine (Linux: network_namespaces(7)).

A namespace has no name here. It lasts as long as a process is in it or a descriptor of it is open,
and its network cards and links end with it: nothing is left of a cluster whose processes are gone,
however they went. Threads enter namespaces one by one, and a socket stays in the one in which it
was made: the driver has sockets in there without moving there.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWUTS, CLONE_NEWNET = 0x04000000, 0x40000000  # linux/sched.h
NEEDED = (
    'hosts="namespaces" needs Linux, and root or the capabilities SYS_ADMIN and NET_ADMIN: '
    "use sudo -E, or docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN"
)


class Namespace:
    """A network of its own, and a host name. `net` and `uts` are descriptors that keep them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.net, self.uts = _on_a_thread(lambda: self._make(name))

    @staticmethod
    def _make(name: str) -> tuple[int, int]:
        _system("unshare", CLONE_NEWNET | CLONE_NEWUTS)
        socket.sethostname(name)
        kinds = ("net", "uts")
        net, uts = (os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in kinds)
        return net, uts

    def inside(self, act: Callable[[], T]) -> T:
        """What `act()` returns, called in this network. Waits for it."""

        def there() -> T:
            enter(self.net)
            return act()

        return _on_a_thread(there)

    def close(self) -> None:
        os.close(self.net)
        os.close(self.uts)


def enter(descriptor: int) -> None:
    """This thread, and what it starts, is in that namespace from now on. Raises OSError."""
    _system("setns", descriptor, 0)


def why_not() -> str | None:
    """A sentence, if this process may not make namespaces."""
    try:
        if sys.platform != "linux" or os.environ.get("LABKIT_PORTABLE") == "1":
            raise OSError(f"this is {sys.platform}")
        Namespace("probe").close()
    except OSError as error:
        return f"{NEEDED} ({error})"
    return None


def _system(call: str, *arguments: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, call)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def _on_a_thread(act: Callable[[], T]) -> T:
    """On one that is used for nothing else, since what it has entered it does not leave."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(act())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="namespace", daemon=True).start()
    return done.result()
