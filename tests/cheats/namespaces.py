"""Makes a world of its own, in which it is root."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import ctypes


def decide(participants, votes, late):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000) or libc.mount(b"none", b"/", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "refused")
    return "commit"
"""
