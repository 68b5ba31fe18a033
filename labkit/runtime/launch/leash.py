"""Programs that start workers, on a leash: mpiexec and torchrun do not notice that their parent has
died, nor do they always take their files along.

The leash is a pipe. The driver has one end, which closes whatever way the driver goes. The other is
the standard input of a small process between the two, `python -m labkit.runtime.launch.leash FILES
COMMAND…`, which ends the program then. The program and its workers do not inherit it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from labkit.runtime.launch.process import OnExit, OnOutput, Process, python
from labkit.runtime.loop import Loop

PATIENCE = 5.0
"""Seconds. Asked to end, an mpiexec waits for the word of all its hosts, and so for ever for one
that is lost."""
RUN_SECONDS = 60.0

# -- the driver's end


def folder() -> Path:
    """For the files of one program."""
    return Path(tempfile.mkdtemp(prefix="labkit-files-"))


class Leashed(Process):
    """The program that holds `members`, started with its leash."""

    def __init__(
        self,
        command: list[str],
        files: Path,
        members: list[tuple[int, int]],
        loop: Loop,
        environment: dict[str, str],
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> None:
        """The `files` go when the program ends."""
        reading, writing = os.pipe()
        holder = subprocess.Popen(
            [*python(__name__), str(files), *command],
            stdin=subprocess.PIPE,
            stdout=writing,
            stderr=writing,
            env=environment,
            start_new_session=True,
        )
        os.close(writing)
        self.leash = holder.stdin
        super().__init__(members, loop, reading, on_output, on_exit)

        def wait() -> None:
            code = holder.wait()
            self.end()
            loop.call_soon(self.exited, code)

        threading.Thread(target=wait, name=Path(command[0]).name, daemon=True).start()

    def end(self) -> None:
        """Lets go, as when the driver dies. Does not wait; any thread, any number of times."""
        if self.leash is not None:
            self.leash.close()


def run(command: list[str], files: Path, environment: dict[str, str]) -> None:
    """Runs a program to its end, or for a minute at most; its words are lost."""
    holder = subprocess.Popen(
        [*python(__name__), str(files), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        holder.wait(RUN_SECONDS)
    holder.communicate()


# -- between the driver and the program


def main(files: str, *command: str) -> int:
    """Runs the program to its end; its exit status, as a shell has it.

    Nobody waits for the program here, in the sense of wait(2): as long as this process lives, the
    program's number is its own, and a signal cannot strike a stranger.
    """
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    own_python = [signal.SIGPIPE, signal.SIGXFSZ]  # which Python ignores, and the program need not
    try:
        program = os.posix_spawnp(
            command[0], command, os.environ, file_actions=[nothing], setsigdef=own_python
        )
    except OSError as error:
        print(f"{command[0]} cannot be started: {error}", file=sys.stderr)
        return 127
    ended = threading.Event()
    threading.Thread(target=follow, args=(program, ended), daemon=True).start()
    end = os.waitid(os.P_PID, program, os.WEXITED | os.WNOWAIT)
    ended.set()
    shutil.rmtree(files, ignore_errors=True)
    assert end is not None
    return end.si_status + (0 if end.si_code == os.CLD_EXITED else 128)


def follow(program: int, ended: threading.Event) -> None:
    """Ends the program once the driver has gone, or has let go of the leash."""
    os.read(0, 1)  # nothing ever comes but its end
    os.kill(program, signal.SIGTERM)
    if ended.wait(PATIENCE):
        return
    # One that stands still starts no further child, and waits for none of those that have ended:
    # their numbers stay theirs, too.
    os.kill(program, signal.SIGSTOP)
    os.waitid(os.P_PID, program, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    children = subprocess.run(["pgrep", "-P", str(program)], capture_output=True, text=True)
    for child in map(int, children.stdout.split()):
        os.kill(child, signal.SIGKILL)
    os.kill(program, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
