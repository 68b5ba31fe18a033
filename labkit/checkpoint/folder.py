"""Where checkpoints are: a folder that one run at a time may write, or a `Disk` that is given.

Everything that is undertaken there has a disk object of its own, since after a failed fsync a disk
is not used again (`labkit.disk`); and every error says what was being done and what to do about it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from labkit.checkpoint.lock import Lock
from labkit.disk import Disk, RealDisk, make_durable


class CheckpointFailed(Exception):
    """A checkpoint could not be written: nothing of it is visible, and the ones before it are."""


class Folder:
    """`path` is None where a `Disk` was given (the simulator's, say): that one needs no lock.

    `run` is one word for all ranks of a run.
    """

    def __init__(self, where: str | os.PathLike[str] | Disk, run: str | None = None) -> None:
        self.run, self._named = run or uuid.uuid4().hex, run is not None
        self.path: Path | None = None
        self.disk: Disk | None = None
        if isinstance(where, str | os.PathLike):
            self.path = Path(where)
        else:
            self.disk = where
        self._lock: Lock | None = None

    def share(self, run: str) -> None:
        """The word of this run, where its user has given none."""
        self.run = self.run if self._named else run

    @contextlib.contextmanager
    def reading(self, doing: str, make: bool = False) -> Iterator[Disk]:
        """A folder that is not there is an empty one, and is made only to `make` something in it.
        Raises CheckpointFailed in place of OSError; FileNotFoundError comes through."""
        try:
            disk = self._open(make)
            try:
                yield disk
            finally:
                disk.close()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._failed(doing, error) from error

    @contextlib.contextmanager
    def writing(self, doing: str) -> Iterator[Disk]:
        """As `reading`, with the folder's lock, which stays with this run. Raises Locked too."""
        if self.path is not None and self._lock is None:
            try:
                make_durable(self.path)
                self._lock = Lock(self.path, self.run)
            except OSError as error:
                raise self._failed("taking the folder's lock", error) from error
        with self.reading(doing, make=True) as disk:
            yield disk

    def close(self) -> None:
        """Lets the next run write here."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _open(self, make: bool) -> Disk:
        if self.path is None:
            assert self.disk is not None
            return self.disk
        return RealDisk(self.path, make)

    def _failed(self, doing: str, error: OSError) -> CheckpointFailed:
        reason = os.strerror(error.errno) if error.errno else str(error)
        what = advice(error.errno)
        if self.path is None:
            reason = error.strerror or reason
        url = getattr(self.disk, "url", None)  # of an object store
        if url is not None:
            what = "See that the store answers, and that bucket, address and keys are right."
        return CheckpointFailed(
            f"{self.path or url or 'the disk'}: {doing} failed ({reason}). {what} The "
            "checkpoints before it are as they were."
        )


def advice(number: int | None) -> str:
    """What a person can do about an error of the disk, by its `errno`."""
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space there, or keep fewer checkpoints (Keep(last=…))."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Make the folder writable for this user, or give another one."
    if number in (errno.EEXIST, errno.ENOTDIR):
        return "There is a file in its way: give another folder."
    return "If it happens again, use another disk."
