"""The folder of simulated checkpoints: "7.step-3.rank-0-of-4", "7.step-3.manifest", "latest".

What `labkit.checkpoint` writes, in the same order, with a line and its checksum in each file.
"""

from __future__ import annotations

import zlib

from labkit.protocols.checkpoints import SAVERS
from labkit.simulator.disk import SimulatedDisk
from labkit.simulator.simulation import Simulation


def folder(sim: Simulation) -> SimulatedDisk:
    disk: SimulatedDisk = sim._nodes[SAVERS].factory.keywords["disk"]  # type: ignore[attr-defined]
    return disk


def number_of(name: str) -> int:
    first = name.partition(".")[0]
    return int(first) if first.isdigit() else 0


def publish(disk: SimulatedDisk, name: str, text: str, by: int) -> None:
    new = f"{name}.{by}.new"
    disk.write(new, f"{text} {zlib.crc32(text.encode())}".encode())
    disk.fsync(new)
    disk.rename(new, name)
    disk.fsync_dir()


def text_of(disk: SimulatedDisk, name: str) -> str | None:
    """None when it is not what was written."""
    text, _, check = disk.read(name).decode(errors="replace").rpartition(" ")
    return text if check == str(zlib.crc32(text.encode())) else None


def write_shard(disk: SimulatedDisk, number: int, step: int, place: int, size: int) -> None:
    publish(disk, f"{number}.step-{step}.rank-{place}-of-{size}", f"step {step} of {size}", place)


def publish_manifest(disk: SimulatedDisk, number: int, by: int) -> None:
    """Unless it is there, or a newer one: then its files are being collected."""
    names = disk.list()
    if any(name.endswith(".manifest") and number_of(name) >= number for name in names):
        return
    shards = [n for n in names if number_of(n) == number and not n.endswith(".new")]
    if shards:
        start = shards[0].partition(".rank-")[0]
        publish(disk, f"{start}.manifest", " ".join(sorted(shards)), by)


def tidy(disk: SimulatedDisk) -> None:
    """`latest` names the newest one, and the older ones go, their manifests first."""
    newest = max((n for n in disk.list() if n.endswith(".manifest")), key=number_of, default=None)
    if newest is None:
        return
    publish(disk, "latest", newest, by=0)
    old = [n for n in disk.list() if n != "latest" and number_of(n) < number_of(newest)]
    for name in sorted(old, key=lambda name: not name.endswith(".manifest")):
        disk.unlink(name)
        if name.endswith(".manifest"):
            disk.fsync_dir()
