"""A process as in an unprivileged container: a user without any power, who may make no namespaces.

    python tests/grading/unprivileged.py -m labkit.cli grade …

It keeps the files of whoever starts it: in a user namespace of its own that user is called 1000,
and has given up all that root of a namespace may. There, user.max_user_namespaces is 0.
"""

import ctypes
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

NEWUSER, CAPBSET_DROP, NO_NEW_PRIVS = 0x10000000, 24, 38
UID = 1000
REFUSED = 77


def give_up_all_power():
    """Raises OSError where this machine gives nobody a user namespace to begin with."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(NEWUSER):
        raise OSError(ctypes.get_errno(), "no user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{UID} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{UID} {gid} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    for capability in range(64):
        libc.prctl(CAPBSET_DROP, capability, 0, 0, 0)
    libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    header = struct.pack("=II", 0x20080522, 0)  # linux/capability.h, version 3
    assert libc.capset(header, bytes(24)) == 0
    assert os.geteuid() == UID


def run(*words, timeout=120):
    """What Python says to `words` as such a user. Skips the test where there is no such user."""
    command = [sys.executable, __file__, *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if ended.returncode == REFUSED:
        pytest.skip(ended.stdout.strip())
    return ended


if __name__ == "__main__":
    try:
        give_up_all_power()
    except OSError as error:
        print(f"this machine has no user namespaces: {error}")
        sys.exit(REFUSED)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
