"""Sleeping until a counter in shared memory changes: Linux's futex, called through the C library.

Drepper, "Futexes Are Tricky" (2011). `wait` sleeps only if the counter still has the value that was
seen, which the kernel checks while it holds off `wake`: no change is missed. A rank that sleeps
leaves its processor to those who still compute; one that polls competes with them.
"""

from __future__ import annotations

import ctypes
import platform
import sys

_CALL = {"x86_64": 202, "aarch64": 98, "riscv64": 98}.get(platform.machine())
AVAILABLE = sys.platform == "linux" and sys.byteorder == "little" and _CALL is not None
WAIT, WAKE, EVERYBODY = 0, 1, 2**31 - 1  # linux/futex.h


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


_syscall = ctypes.CDLL(None).syscall  # through ctypes.CDLL, so that it lets go of the GIL
_LONGEST = ctypes.byref(_Time(0, 2_000_000))


def wait(address: int, seen: int) -> None:
    """Sleeps for 2 ms at most, or until `wake`, if the counter at `address` still is `seen`."""
    _syscall(_CALL, ctypes.c_void_p(address), WAIT, ctypes.c_uint32(seen & 0xFFFFFFFF), _LONGEST)


def wake(address: int) -> None:
    """Wakes all that sleep on the counter."""
    _syscall(_CALL, ctypes.c_void_p(address), WAKE, EVERYBODY)
