"""Signals for processes on other hosts, which a launcher carries by starting a program there.

`srun` and `mpiexec` take 0.1 to 1 s for that, and meanwhile the process may have ended, and its
number may be another's. So a worker says when it began, and the program sends the signal to a
process that began then, or to nobody. Between its look and its signal lie microseconds, in which
the kernel would have to hand out all other numbers first.

To each process they go one after the other: a SIGCONT is not to overtake the SIGSTOP before it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

Letter = tuple[int, int, int]
"""The signal's number, when the process began, and its own number."""

# Of the words of /proc/PID/stat behind the name, which may have any letters, the 20th says when it
# began (proc_pid_stat(5)); three words are there already.
DELIVER = """\
stat=$(cat "/proc/$3/stat") || exit
set -- "$@" ${stat##*) }
[ "${23}" = "$2" ] && kill "-$1" "$3"
"""


def began(pid: int | str = "self") -> int:
    """When a process did, in the kernel's ticks since the host's boot; 0 where there is no such
    process, or no /proc: it is sent nothing from other hosts."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(words[19])


def program(letter: Letter) -> list[str]:
    """The command that is to run on its host: a shell's, since a container may hold the Python."""
    return ["sh", "-c", DELIVER, "sh", *map(str, letter)]


class Courier:
    """To one process, on whose host `run(command)` runs a command to its end."""

    def __init__(self, run: Callable[[list[str]], None]) -> None:
        self.run = run
        self._letters: list[Letter] = []  # the first is on its way
        self._lock = threading.Lock()

    def send(self, letter: Letter) -> None:
        """Does not wait. What is the same as the last is that one, if it has not come yet."""
        with self._lock:
            if self._letters[-1:] == [letter]:
                return
            self._letters.append(letter)
            if len(self._letters) == 1:
                threading.Thread(target=self._carry, name="signals", daemon=True).start()

    def _carry(self) -> None:
        letter: Letter | None = self._letters[0]
        while letter is not None:
            with contextlib.suppress(OSError):  # this one is lost, as with its host; not the next
                self.run(program(letter))
            with self._lock:
                del self._letters[0]
                letter = self._letters[0] if self._letters else None
