"""What a rank does to itself when its part of a fault plan says so."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from labkit import events, faults

if TYPE_CHECKING:
    from labkit.runtime.host import Host

STRIKE_SECONDS = 30.0
_FOR_EVER = 1e6


def strike(host: Host, fault: faults.Fault) -> None:
    """A planned fault whose moment this rank has reached. The training thread."""
    me = host.me.rank
    match fault:
        case faults.Kill(rank) | faults.HoldGIL(rank) if rank == me:
            events.record("fault", str(fault), **faults.describe(fault))
            if isinstance(fault, faults.HoldGIL):
                return hold_lock(fault.seconds)
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        case faults.LinkDown(rank) if rank == me:
            host.strike(fault)  # and will not be heard to say that it is in force
        case _:
            # The driver injects it, and says so to everyone: go on when it is in force here.
            struck = host.strike(fault)
            # In slices, each of which counts once, however long this process itself stood still.
            if not any(struck.wait(0.5) for _ in range(int(2 * STRIKE_SECONDS))):
                raise TimeoutError(f"rank {me}: the driver did not inject {fault} as planned")


def hold_lock(seconds: float | None) -> None:
    """Keeps the interpreter's lock: no other thread of this process runs meanwhile.

    The calls into C do not release it, and a switch interval of days keeps the other threads from
    asking for it between two of them.
    """
    before, end = sys.getswitchinterval(), time.monotonic() + (seconds or _FOR_EVER)
    sys.setswitchinterval(_FOR_EVER)
    poll = ctypes.PyDLL(None).poll
    while time.monotonic() < end:
        poll(None, 0, 10)  # 10 ms
    sys.setswitchinterval(before)
