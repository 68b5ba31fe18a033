"""How a file comes to be there as a whole or not at all, whatever happens meanwhile.

    write NAME.new → fsync NAME.new → rename to NAME → fsync the folder

Without the temporary name a crash leaves a torn file under the right name. Without the first fsync
the name may survive a power failure and the bytes not. Without the last one the file is there, and
its name may not be. (T. Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014.)

The named points, for faults to strike at: checkpoint.write before the first byte and between any
two chunks, checkpoint.fsync, checkpoint.rename, checkpoint.fsync_dir, each before the act, and
checkpoint.durable after the last.
"""

from __future__ import annotations

from collections.abc import Iterable

from labkit import faults
from labkit.checkpoint.manifest import Bytes
from labkit.disk import Disk

CHUNK = 16 << 20
"""Bytes for one `write`: enough to keep a disk busy, few enough to notice an error early."""

NEW = ".new"


def publish(disk: Disk, name: str, pieces: Iterable[Bytes], by: str = "") -> int:
    """The file `name` holds the pieces, one after the other, and is durable; returns its length.

    Where several may write the same file at once, `by` tells them apart: one temporary name for two
    writers would show the half that one has written under the name that the other has given.
    Raises DiskFailure; then there is at most the temporary file, and nobody reads that.
    """
    new = f"{name}.{by}{NEW}" if by else name + NEW
    length = 0
    disk.write(new, b"")
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), CHUNK):
            faults.point("checkpoint.write")
            disk.append(new, view[start : start + CHUNK])
        length += len(view)
    faults.point("checkpoint.fsync")
    disk.fsync(new)
    faults.point("checkpoint.rename")
    disk.rename(new, name)
    faults.point("checkpoint.fsync_dir")
    disk.fsync_dir()
    faults.point("checkpoint.durable")
    return length
