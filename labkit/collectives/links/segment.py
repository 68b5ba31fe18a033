"""Memory that several processes of one host share, and that leaves nothing behind.

Rank 0 makes it, the others open it. With Linux's memfd it has no name: the others reach it through
/proc/<pid>/fd/<fd> of the maker (same user), and it ends with the last process that maps it. The
portable way is a file in the temporary directory, unlinked as soon as all have mapped it; its name
is told before it exists, so that whoever survives the maker can unlink it. 16 random bytes at the
beginning prove that what was opened is what was meant.
"""

from __future__ import annotations

import mmap
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PAGE = 4096
"""Bytes before the memory that is handed out: the proof, and nothing up to the next page."""
PATIENCE = 10.0
"""Seconds that a rank waits for the maker's file to appear."""


def share(
    rank: int,
    nbytes: int,
    announce: Callable[[bytes | None], bytes],
    all_mapped: Callable[[], None],
) -> memoryview:
    """`nbytes` zeroed bytes that all ranks of the group see.

    `announce` brings rank 0's words to all and returns them, `all_mapped` returns when every rank
    has called it: what the group must exchange by other means. Raises MemoryError on every rank
    when the memory does not fit, OSError when it cannot be reached.
    """
    size = PAGE + nbytes
    descriptor, path = _make(size, announce) if rank == 0 else _open(announce(None))
    try:
        memory = mmap.mmap(descriptor, size)
        all_mapped()
    finally:
        os.close(descriptor)
        _unlink(path)
    return memoryview(memory)[PAGE:]


def portable() -> bool:
    """Whether to do without Linux's own aids."""
    return not hasattr(os, "memfd_create") or os.environ.get("LABKIT_PORTABLE") == "1"


def _make(size: int, announce: Callable[[bytes | None], bytes]) -> tuple[int, str]:
    proof = secrets.token_hex(8).encode()
    _tell_if_full(announce, check_room, size)
    if portable():
        path = str(Path(tempfile.gettempdir()) / f"labkit-{secrets.token_hex(8)}")
        announce(proof + path.encode())
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _fill(descriptor, size, proof)
        except BaseException:
            os.close(descriptor)
            _unlink(path)
            raise
        return descriptor, path
    descriptor = os.memfd_create("labkit")
    path = f"/proc/{os.getpid()}/fd/{descriptor}"
    try:
        _tell_if_full(announce, _fill, descriptor, size, proof)
        announce(proof + path.encode())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, path


def _tell_if_full(announce: Callable[[bytes | None], bytes], step: Callable, *args: object) -> None:
    """The others wait for an address: if there will be none, they are told why."""
    try:
        step(*args)
    except MemoryError as error:
        announce(b"!" + str(error).encode())
        raise


def _fill(descriptor: int, size: int, proof: bytes) -> None:
    """Reserves the memory now: a page that is missing later would end the process with SIGBUS."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            os.ftruncate(descriptor, size)
    except OSError as error:
        raise MemoryError(_full(size, str(error.strerror))) from error
    os.pwrite(descriptor, proof, 0)


def _open(address: bytes) -> tuple[int, str]:
    if address.startswith(b"!"):
        raise MemoryError(address[1:].decode())
    proof, path = address[:16], address[16:].decode()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            time.sleep(0.001)  # announced, and not yet made
            continue
        except PermissionError:
            break
        if os.pread(descriptor, len(proof), 0) == proof:
            return descriptor, path
        os.close(descriptor)
        time.sleep(0.001)
    _unlink(path)
    raise OSError(
        f"cannot reach the shared memory of rank 0 at {path}: the ranks need one host, one user "
        "and one container; use LABKIT_PORTABLE=1 where /proc is closed, or a link over Gloo"
    )


def _unlink(path: str) -> None:
    if not path.startswith("/proc/"):
        Path(path).unlink(missing_ok=True)


def check_room(size: int) -> None:
    """Raises MemoryError if `size` bytes of shared memory do not fit."""
    if portable():
        free = shutil.disk_usage(tempfile.gettempdir()).free
    else:
        free = min(psutil.virtual_memory().available, _container_room())
    if size > free:
        raise MemoryError(_full(size, f"{free >> 20} MiB are free"))


def _container_room() -> int:
    """What the container's limit leaves (cgroup v2); shared memory counts towards it."""
    try:
        room = Path("/sys/fs/cgroup")
        return int((room / "memory.max").read_text()) - int((room / "memory.current").read_text())
    except (OSError, ValueError):
        return 1 << 62


def _full(size: int, why: str) -> str:
    where = f"in {tempfile.gettempdir()} (or set TMPDIR)" if portable() else "on this machine"
    return (
        f"shared memory is full: {size / 2**20:.1f} MiB are needed and {why}; "
        f"use a smaller bucket or fewer ranks, or free memory {where}"
    )
