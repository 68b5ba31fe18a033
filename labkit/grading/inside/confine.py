"""The walls of a jail, in the order in which a process builds them around itself.

    apart()      own user, mount, network, process, IPC and host name spaces (Linux)
    furnish()    its own root: Python and the room to read, a home of its own to write
    private()    a home that not even the other ranks of the jail see
    humble()     another uid, no capabilities, nothing to be gained from setuid programs
    bounded()    limits on memory, files, processor time
    seccomp.install()

Root can do all of it. Others need a user namespace for the first three, in which they are root; the
uid outside stays the grader's own then. See namespaces(7), user_namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import socket
import struct
import sys
from pathlib import Path

import msgspec

HOME = "/home/student"
DEVICES = ("null", "zero", "full", "random", "urandom")

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
NOSUID, NODEV, NOEXEC, RDONLY, REMOUNT, BIND, REC, PRIVATE = 2, 4, 8, 1, 32, 4096, 16384, 1 << 18
MOUNT_SETATTR, AT_RECURSIVE, AT_FDCWD, DETACH = 442, 0x8000, -100, 2
PDEATHSIG, DUMPABLE, CAPBSET_DROP, NO_NEW_PRIVS = 1, 4, 24, 38
SIGKILL = 9


class Walls(msgspec.Struct, frozen=True):
    """What a jail is made of. `uid` 0 leaves the uid as it is: the grader is not root.

    `readable` are folders that student code may read, except those in `hidden`; `root` is an empty
    one, where its root is
    put together. `memory` is the address space of one rank and `files` what its home holds, in
    bytes; `seconds` is for all that is asked of the jail.
    """

    level: str
    uid: int
    root: str
    readable: tuple[str, ...]
    hidden: tuple[str, ...]
    ranks: int
    network: bool
    memory: int
    files: int
    seconds: float


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def must(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def apart(root: bool) -> None:
    """Into namespaces of its own; the process ids only of children. Raises OSError."""
    kinds = NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET
    uid, gid = os.geteuid(), os.getegid()
    result = libc().unshare(kinds if root else kinds | NEWUSER)
    if result < 0 and ctypes.get_errno() == errno.ENOSPC:  # its own words speak of a disk
        raise OSError(errno.ENOSPC, "namespaces: user.max_user_namespaces is used up")
    must(result, "namespaces")
    if not root:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def furnish(walls: Walls) -> None:
    """A new root, in memory and read-only but for the home. To be called by process 1 of the
    namespaces, as root in them."""
    must(libc().mount(None, b"/", None, REC | PRIVATE, None), "private mounts")
    mount("tmpfs", walls.root, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
    for path in walls.readable:
        target = walls.root + path
        os.makedirs(target, exist_ok=True)
        must(libc().mount(os.fsencode(path), os.fsencode(target), None, BIND | REC, None), path)
        read_only(target)
    for path in walls.hidden:
        mount("tmpfs", walls.root + path, "tmpfs", NOSUID | NODEV | RDONLY, "size=4k,mode=755")
    for name in DEVICES:
        target = f"{walls.root}/dev/{name}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
        must(libc().mount(f"/dev/{name}".encode(), target.encode(), None, BIND, None), name)
    os.makedirs(f"{walls.root}/proc")
    with contextlib.suppress(OSError):  # refused inside some containers; Python does without
        mount("proc", f"{walls.root}/proc", "proc", NOSUID | NODEV | NOEXEC, "hidepid=2")
    os.makedirs(walls.root + HOME)
    mount("tmpfs", walls.root + HOME, "tmpfs", NOSUID | NODEV, home_options(walls))
    os.chdir(walls.root)
    must(libc().pivot_root(b".", b"."), "a root of its own")
    must(libc().umount2(b".", DETACH), "the old root")
    must(libc().mount(None, b"/", None, REMOUNT | BIND | RDONLY | NOSUID | NODEV, None), "root")
    os.chdir(HOME)
    loopback_up()


def private(walls: Walls) -> None:
    """A home that the other ranks do not see: what they have to tell each other goes over links."""
    os.chdir("/")
    must(libc().unshare(NEWNS), "mounts of its own")
    mount("tmpfs", HOME, "tmpfs", NOSUID | NODEV, home_options(walls))
    os.chdir(HOME)


def home_options(walls: Walls) -> str:
    return f"size={walls.files},nr_inodes=1000,mode=700,uid={walls.uid},gid={walls.uid}"


def mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    words = [text.encode() for text in (source, target, kind)]
    must(libc().mount(*words, flags, options.encode()), f"{kind} at {target}")


def read_only(target: str) -> None:
    """All mounts at and below it, as mount_setattr(2) can do in one call since Linux 5.12."""
    attributes = struct.pack("=QQQQ", RDONLY | NOSUID, 0, 0, 0)
    arguments = (AT_FDCWD, target.encode(), AT_RECURSIVE, attributes, len(attributes))
    must(libc().syscall(MOUNT_SETATTR, *arguments), f"{target} read-only")


def loopback_up() -> None:
    import fcntl

    get_flags, set_flags, up = 0x8913, 0x8914, 1  # linux/sockios.h, linux/if.h
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, get_flags, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack("16sh14x", answer)[1]
        fcntl.ioctl(sock, set_flags, struct.pack("16sh14x", b"lo", flags | up))


def humble(walls: Walls) -> None:
    """Gives up every power for good."""
    if walls.uid:
        os.setgroups([])
        os.setgid(walls.uid)
    if sys.platform == "linux":
        for capability in range(64):
            libc().prctl(CAPBSET_DROP, capability, 0, 0, 0)  # an error where there is none
    if walls.uid:
        os.setuid(walls.uid)  # of root: the real, the effective and the saved one
    if sys.platform != "linux":
        return
    header = struct.pack("=II", 0x20080522, 0)  # linux/capability.h, version 3
    must(libc().capset(header, bytes(24)), "no capabilities")
    must(libc().prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    libc().prctl(DUMPABLE, 0, 0, 0, 0)  # nobody of the same uid reads its memory in /proc


def bounded(walls: Walls) -> None:
    """The processor's time is a second line of defence: the grader's deadline is the first."""
    seconds = max(1, round(walls.seconds) + 1)
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": seconds,
        "RLIMIT_FSIZE": walls.files,
        "RLIMIT_NOFILE": 128,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
    if sys.platform == "linux":
        limits["RLIMIT_AS"] = walls.memory
    for name, value in limits.items():
        if hasattr(resource, name):
            hard = resource.getrlimit(getattr(resource, name))[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(getattr(resource, name), (value, value))


def die_with_parent() -> None:
    """To be said again after a change of the uid, which makes Linux forget it."""
    if sys.platform == "linux":
        libc().prctl(PDEATHSIG, SIGKILL, 0, 0, 0)
