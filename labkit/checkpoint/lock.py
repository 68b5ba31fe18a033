"""One run at a time writes into a folder; its ranks may be many.

Two runs in one folder would each collect the other's files as garbage. The lock is the kernel's
(`flock`), on a file in the folder: it ends with the process, also by SIGKILL, so that no lock is
ever left behind by the dead. All ranks of a run share it; the file says whose it is.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

NAME = "lock"


class Locked(Exception):
    """Another run writes into this folder."""


class Lock:
    """Held from here until `close`, or until the process ends.

    `run` is the same word for all ranks of a run. Raises Locked with who holds it, and OSError
    where no file can be made.
    """

    def __init__(self, folder: str | os.PathLike[str], run: str) -> None:
        self.path = Path(folder) / NAME
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o644)
        try:
            self._take(run)
        except BaseException:
            self.close()
            raise

    def _take(self, run: str) -> None:
        if self._try(fcntl.LOCK_EX):  # nobody has it: say whose it is, then let the others in
            who = f"{run}\npid {os.getpid()} on {socket.gethostname()}\n"
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, who.encode(), 0)
        fcntl.flock(self._file, fcntl.LOCK_SH)  # waits for no more than the two lines above
        whose, _, who = os.pread(self._file, 4096, 0).decode(errors="replace").partition("\n")
        if whose != run:
            raise Locked(
                f"{self.path.parent}: another run writes its checkpoints here ({who.strip()}). "
                "Stop that one, or give this one a folder of its own"
            )

    def _try(self, how: int) -> bool:
        try:
            fcntl.flock(self._file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        """A store that a notebook forgets does not keep the next one out."""
        if hasattr(self, "_file"):
            self.close()
