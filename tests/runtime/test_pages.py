"""The fork server's memory in huge pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import re
from pathlib import Path
from labkit.runtime.launch.pages import collapse

def huge():
    return int(re.search(r"AnonHugePages: +(\\d+)", Path("/proc/self/smaps_rollup").read_text())[1])

kept = [bytes([k % 256]) * 4096 for k in range(8192)]
before = huge()
collapse()
assert all(page == bytes([k % 256]) * 4096 for k, page in enumerate(kept))
print(huge() - before)
"""


def huge_kilobytes(portable: str) -> int:
    environment = {**os.environ, "LABKIT_PORTABLE": portable}
    run = [sys.executable, "-c", CODE]
    return int(subprocess.run(run, env=environment, stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_what_is_in_memory_moves_into_huge_pages_and_stays_what_it_was() -> None:
    release = tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2])
    if release < (6, 1) or not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip("needs Linux 6.1 with huge pages")
    assert huge_kilobytes(portable="") >= 16 << 10
    assert huge_kilobytes(portable="1") == 0
