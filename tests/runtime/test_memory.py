"""Freed memory stays with a worker from step to step."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from labkit.runtime import memory

CODE = """
import ctypes
import runpy
import torch

own = runpy.run_path({path!r})  # alone: what the package imports has an influence, too
libc = ctypes.CDLL(None)
libc.sbrk.restype = ctypes.c_void_p
if {keep}:
    own['keep_freed_memory']()
for _ in range(3):  # the first fills the gaps that the imports have left
    blocks = [torch.empty(100_000, dtype=torch.uint8) for _ in range(own['KEPT_BYTES'] // 125_000)]
    most = libc.sbrk(0)
    del blocks
    back = most - libc.sbrk(0)
print(back)
"""


def given_back(keep: bool) -> int:
    """Bytes of the heap, when four fifths of what may be kept have been used and freed."""
    run = [sys.executable, "-c", CODE.format(keep=keep, path=memory.__file__)]
    return int(subprocess.run(run, stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_the_end_of_the_heap_is_kept_for_the_next_step() -> None:
    assert given_back(keep=False) > 4 << 20
    assert given_back(keep=True) == 0
