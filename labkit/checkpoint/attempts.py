"""What the ranks have prepared and nobody has committed yet: reading it, in a folder in which other
ranks commit and tidy up at the same time."""

from __future__ import annotations

from collections.abc import Collection

from labkit.checkpoint import manifest as manifests
from labkit.checkpoint.manifest import BadCheckpoint, Manifest, Prepared
from labkit.disk import Disk


def whole(disk: Disk, number: int) -> Manifest | list[Prepared]:
    """The manifest of an attempt if it is there, else the notes of all its ranks, in order.

    Raises BadCheckpoint when one is not there or damaged, or is of another step or world size than
    the others; or when there is a newer checkpoint, so that the files of this one may be going.
    """
    found = None
    while found is None:
        found = _read(disk, number)
    if isinstance(found, Manifest):
        return found
    notes = sorted(found, key=lambda note: note.shard.rank)
    by = [note.shard.rank for note in notes]
    if not notes or by != list(range(notes[0].world_size)):
        who = ", ".join(f"rank-{rank}" for rank in by) or "nobody"
        raise BadCheckpoint(f"attempt {number}: prepared by {who}, not by all.")
    if len({(note.step, note.world_size) for note in notes}) > 1:
        raise BadCheckpoint(f"attempt {number}: the ranks have prepared different steps.")
    return notes


def _read(disk: Disk, number: int) -> Manifest | list[Prepared] | None:
    """None when another rank took a note away meanwhile: it has committed, and tidied up."""
    names = disk.list()
    mine = [name for name in names if manifests.number_of(name) == number]
    try:
        for name in mine:
            if name.endswith(".manifest"):
                return manifests.from_bytes(disk.read(name), name, Manifest)
        for name in names:
            if name.endswith(".manifest") and (manifests.number_of(name) or 0) > number:
                raise BadCheckpoint(f"attempt {number}: it is over, {name} is there.")
        called = [name for name in mine if name.endswith(".prepared")]
        return [manifests.from_bytes(disk.read(name), name, Prepared) for name in called]
    except FileNotFoundError:
        return None


def in_doubt(names: Collection[str]) -> dict[int, list[int]]:
    """By number, the attempts of which a rank has prepared its part and of which there is no
    manifest, and those ranks."""
    committed = {manifests.number_of(name) for name in names if name.endswith(".manifest")}
    found: dict[int, list[int]] = {}
    for name in names:
        number, rank = manifests.number_of(name), manifests.rank_of(name)
        if number in committed or number is None or rank is None:
            continue
        if name.endswith(".prepared"):
            found.setdefault(number, []).append(rank)
    return found
