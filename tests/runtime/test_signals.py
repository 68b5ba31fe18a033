"""Whom the driver's signals strike."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LAST = Path("/proc/sys/kernel/ns_last_pid")
ALONE = ["unshare", "--pid", "--fork", "--mount-proc"]
"""Nobody else takes a number there."""
needs_numbers = pytest.mark.skipif(
    os.geteuid() != 0 or not LAST.exists() or shutil.which("unshare") is None,
    reason="needs root, unshare, and a kernel that can be told which process number comes next",
)
USED_AGAIN = f"""
import pathlib, signal, subprocess, sys
from labkit.runtime.launch.launcher import Launcher
from labkit.runtime.launch.process import Process

def start():
    talk = "print('here', flush=True); input()"
    pipes = {{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}}
    process = subprocess.Popen([sys.executable, "-c", talk], **pipes)
    process.stdout.readline()  # the kernel tells when one began in hundredths of a second
    return process

worker, launcher, process = start(), Launcher(None), Process.__new__(Process)
launcher.meet("this one", worker.pid)
process.began(worker.pid)
launcher.signal("this one", worker.pid, signal.SIGKILL)
assert worker.wait() == -signal.SIGKILL
pathlib.Path("{LAST}").write_text(str(worker.pid - 1))
stranger = start()
assert stranger.pid == worker.pid, "another has the number"
process.end()
try:
    launcher.signal("this one", worker.pid, signal.SIGKILL)
except ProcessLookupError as error:
    print(error)
stranger.communicate(b"\\n")
assert stranger.returncode == 0, "it was struck"
"""


@needs_numbers
def test_a_signal_is_for_the_worker_and_not_for_a_later_process_with_its_number() -> None:
    command = [*ALONE, sys.executable, "-c", USED_AGAIN]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    assert told.stdout.endswith("has ended\n")
