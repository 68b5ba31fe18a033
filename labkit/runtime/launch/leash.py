"""Programs that start workers, on a leash: mpiexec and torchrun do not notice that their parent has
died, nor do they always take their files along."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from labkit.runtime.launch.process import OnExit, OnOutput, Process
from labkit.runtime.loop import Loop

# The leash is a pipe of which the driver has the other end, which closes whatever way the driver
# goes; the program and its workers do not inherit it. The program's files are in a folder of their
# own, which the shell removes when there is no driver left to do it. Asked to end, an mpiexec waits
# for the word of all its hosts, and so for ever for one that is lost: it has 5 seconds.
LEASH = """exec 3<&0
"$@" 3<&- </dev/null & job=$!
(read _ <&3; kill $job 2>/dev/null; left=50
 while kill -0 $job 2>/dev/null; do
   sleep 0.1; left=$((left - 1))
   [ $left -gt 0 ] || kill -9 $job $(pgrep -P $job) 2>/dev/null
 done; rm -rf "$LABKIT_FILES") &
wait $job"""


def folder() -> Path:
    """For the files of one program."""
    return Path(tempfile.mkdtemp(prefix="labkit-files-"))


def leashed(
    command: list[str],
    files: Path,
    members: list[tuple[int, int]],
    loop: Loop,
    environment: dict[str, str],
    on_output: OnOutput,
    on_exit: OnExit,
) -> Process:
    """Starts the program that holds these (rank, life); its `files` go when it ends."""
    reading, writing = os.pipe()
    leash, held = os.pipe()
    popen = subprocess.Popen(
        ["sh", "-c", LEASH, "sh", *command],
        stdin=leash,
        stdout=writing,
        stderr=writing,
        env={**environment, "LABKIT_FILES": str(files)},
        start_new_session=True,
    )
    os.close(writing)
    os.close(leash)
    process = Process(members, loop, reading, on_output, on_exit)
    process.pid = popen.pid

    def wait() -> None:
        code = popen.wait()
        os.close(held)
        shutil.rmtree(files, ignore_errors=True)
        loop.call_soon(process.exited, code)

    threading.Thread(target=wait, name=Path(command[0]).name, daemon=True).start()
    return process
