"""What student code may not ask of Linux: a seccomp filter, kept for life once it is in force.

A list of refusals, since torch and Python need more calls than anyone can list. What is refused
lets code get out of its process, or out of its limits: new processes and programs, signals to
others, their memory, namespaces and mounts, calls that go around this filter (io_uring), memory
that no limit counts (memfd, System V), sockets. Threads may be started.

The numbers are those of x86-64 and of the generic table that AArch64 uses
(linux/include/uapi/asm-generic/unistd.h); newer calls have one number everywhere.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000  # x86-64's second table of calls begins here

# name: (x86-64, AArch64), None where there is no such call
NEW_PROCESS = "fork 57 -, vfork 58 -, execve 59 221, execveat 322 281, setsid 112 157"
SIGNALS = (
    "kill 62 129, tkill 200 130, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, "
    "pidfd_send_signal 424 424, pidfd_open 434 434, pidfd_getfd 438 438, setpgid 109 154"
)
OTHERS = (
    "ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272, "
    "process_madvise 440 440, setpriority 141 140, sched_setscheduler 144 119, "
    "sched_setparam 142 118, sched_setattr 314 274, sched_setaffinity 203 122, "
    "ioprio_set 251 30, migrate_pages 256 238, move_pages 279 239"
)
KERNEL = (
    "unshare 272 97, setns 308 268, mount 165 40, umount2 166 39, pivot_root 155 41, "
    "chroot 161 51, open_tree 428 428, move_mount 429 429, fsopen 430 430, fsmount 432 432, "
    "mount_setattr 442 442, bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, "
    "io_uring_setup 425 425, keyctl 250 219, add_key 248 217, request_key 249 218, "
    "personality 135 92"
)
MEMORY = (
    "memfd_create 319 279, memfd_secret 447 447, shmget 29 194, msgget 68 186, semget 64 190, "
    "mq_open 240 180"
)
FILES = (
    "creat 85 -, truncate 76 45, unlink 87 -, unlinkat 263 35, rename 82 -, renameat 264 38, "
    "renameat2 316 276, link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36, mkdir 83 -, "
    "mkdirat 258 34, rmdir 84 -, mknod 133 -, mknodat 259 33, chmod 90 -, fchmod 91 52, "
    "fchmodat 268 53, fchmodat2 452 452, chown 92 -, lchown 94 -, fchown 93 55, fchownat 260 54, "
    "utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88, setxattr 188 5, "
    "lsetxattr 189 6, fsetxattr 190 7"
)
CLONE, CLONE3, TGKILL, SOCKET, PRLIMIT = (56, 220), (435, 435), (234, 131), (41, 198), (302, 261)
FCNTL, IOCTL = (72, 25), (16, 29)
OPEN, OPENAT, OPENAT2 = (2, None), (257, 56), (437, 437)

CLONE_THREAD = 0x10000
OWNERS = (8, 10, 15, 1024)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX and F_SETLEASE, fcntl(2): who gets which signal when something
comes, be it SIGKILL to the grader, and who waits in open(2)."""
SOCKET_OWNERS = (0x8901, 0x8902)
"""FIOSETOWN and SIOCSPGRP: the same by ioctl(2)."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# Berkeley packet filter, as in linux/bpf_common.h; the data are struct seccomp_data.
LOAD, JUMP_EQUAL, JUMP_SET, JUMP_FROM, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
NUMBER, ARCH, ARGUMENTS = 0, 4, 16
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000


def machine() -> str | None:
    """The name of the table of calls; None where there is no filter."""
    name = platform.machine()
    native = struct.calcsize("P") == 8
    return name if sys.platform == "linux" and name in AUDIT_ARCH and native else None


def table(text: str, column: int) -> list[int]:
    """The numbers in `text`, of x86-64 in column 0, of AArch64 in column 1."""
    numbers = [entry.split()[1 + column] for entry in text.split(", ")]
    return [int(number) for number in numbers if number != "-"]


def program(name: str, network: bool, writing: bool, pid: int) -> bytes:
    """The filter for a process `pid` on the machine `name`: whether it may make sockets, and
    whether it may open files for writing and change them."""
    column = list(AUDIT_ARCH).index(name)
    code = [
        (LOAD, 0, 0, ARCH),
        (JUMP_EQUAL, 1, 0, AUDIT_ARCH[name]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (JUMP_FROM, 0, 1, X32),
        (RETURN, 0, 0, KILL),
    ]

    def refuse(number: int | None, error: int) -> None:
        if number is not None:
            code.extend([(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE | error)])

    def refuse_if(number: int | None, argument: int, test: int, value: int, on: bool) -> None:
        """Refuses where the test of an argument's lower half says `on`."""
        if number is not None:
            code.extend(
                [
                    (JUMP_EQUAL, 0, 4, number),
                    (LOAD, 0, 0, ARGUMENTS + 8 * argument),
                    (test, *((0, 1) if on else (1, 0)), value),
                    (RETURN, 0, 0, REFUSE | errno.EPERM),
                    (LOAD, 0, 0, NUMBER),
                ]
            )

    for number in table(", ".join([NEW_PROCESS, SIGNALS, OTHERS, KERNEL, MEMORY]), column):
        refuse(number, errno.EPERM)
    refuse(CLONE3[column], errno.ENOSYS)  # its flags are out of reach: glibc takes clone then
    refuse_if(CLONE[column], 0, JUMP_SET, CLONE_THREAD, False)
    refuse_if(TGKILL[column], 0, JUMP_EQUAL, pid, False)  # abort() signals its own process
    for command in OWNERS:
        refuse_if(FCNTL[column], 1, JUMP_EQUAL, command, True)
    for command in SOCKET_OWNERS:
        refuse_if(IOCTL[column], 1, JUMP_EQUAL, command, True)
    refuse_if(PRLIMIT[column], 0, JUMP_EQUAL, 0, False)  # 0 is the caller
    if not network:
        refuse(SOCKET[column], errno.EPERM)
    if not writing:
        for number in table(FILES, column):
            refuse(number, errno.EPERM)
        refuse_if(OPEN[column], 1, JUMP_SET, WRITING, True)
        refuse_if(OPENAT[column], 2, JUMP_SET, WRITING, True)
    refuse(OPENAT2[column], errno.ENOSYS)
    code.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in code)


def install(network: bool, writing: bool) -> None:
    """Puts the filter in force for this process and all its threads. Raises OSError."""
    name = machine()
    if name is None:
        return

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))

    code = program(name, network, writing, os.getpid())
    steps = ctypes.create_string_buffer(code, len(code))
    described = Program(len(code) // 8, ctypes.cast(steps, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, filter_mode = 38, 22, 2  # linux/prctl.h, linux/seccomp.h
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(
        set_seccomp, filter_mode, ctypes.byref(described), 0, 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, f"no seccomp filter: {os.strerror(number)}")
