"""A folder of checkpoints: writing one in two steps, finding the newest good one, tidying up.

Writing has the two steps of a two-phase commit, whoever takes them:

- `prepare`: a rank makes its shard durable, and can then promise that it has it (it votes yes);
- `commit`: when all ranks have, the manifest is written: the checkpoint is there.

Who commits is the business of a `Committer`: one process does it at once (`save`), many vote first
(`labkit.protocols.two_phase_commit`). What is not committed is `abandon`ed.

    store = Store("runs/mine", keep=Keep(last=3))
    store.save(capture(pieces), step=100)
    loaded = store.load()     # None when there is nothing; else loaded.state, loaded.remarks

Loading deletes nothing and changes nothing: the folder may be on a read-only mount.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import torch

import labkit
from labkit import events, faults
from labkit.checkpoint import manifest as manifests
from labkit.checkpoint.files import publish
from labkit.checkpoint.folder import CheckpointFailed, Folder
from labkit.checkpoint.load import Loaded, Wanted, newest
from labkit.checkpoint.manifest import (
    BadCheckpoint,
    Bytes,
    File,
    Made,
    Manifest,
    Part,
    Shard,
    checksum,
)
from labkit.checkpoint.packing import packed
from labkit.checkpoint.retention import Keep, garbage
from labkit.checkpoint.shards import Cut, cuts, header
from labkit.checkpoint.snapshot import Memory, Snapshot
from labkit.checkpoint.state import OWN
from labkit.checkpoint.tree import flatten
from labkit.disk import Disk

LATEST = "latest"
EVERYTHING, UNKNOWN = Keep(), Made()


class Store:
    """The checkpoints in `folder`, or on a `Disk` (the simulator's, say).

    `run` is one word for all ranks of a run; `full_every=k` lets k - 1 checkpoints out of k refer
    to the files of earlier ones for what has not changed; `pack` compresses the shards (zstd). The
    first thing that is written takes the folder's lock, and raises Locked when another run has it.
    One thread at a time.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | Disk,
        keep: Keep = EVERYTHING,
        run: str | None = None,
        made: Made = UNKNOWN,
        full_every: int = 1,
        pack: bool = False,
    ) -> None:
        self.folder, self.keep = Folder(folder, run), keep
        self.full_every, self.packed = full_every, "zstd" if pack else ""
        self.made = msgspec.structs.replace(made, versions=versions() | made.versions)
        self.memory = Memory()
        self._base: Manifest | None = None  # what an incremental checkpoint may refer to
        self._since_full = 0

    # -- writing

    def save(
        self, state: Mapping[str, Any], step: int, metrics: dict[str, float] | None = None
    ) -> Manifest:
        """Writes the state of a run of one rank, and returns when it is durable.

        Raises CheckpointFailed, with what to do; nothing is visible then.
        """
        snapshot = self.snapshot(state)
        snapshot.copy()
        number = self.next_number()
        shard = self.prepare(snapshot, number, step)
        made = self.commit([shard], number, step, metrics)
        self.tidy(made)
        return made

    def snapshot(
        self, state: Mapping[str, Any], rank: int = 0, size: int = 1, sharded: bool = True
    ) -> Snapshot:
        """What this rank is to write of a state, not copied yet: its cut of what all ranks have
        alike (with sharded=False rank 0 has all of it), and what it alone has."""
        common, plain = flatten({k: v for k, v in state.items() if k not in OWN})
        own, own_plain = flatten({k: v for k, v in state.items() if k in OWN}, f"rank-{rank}")
        place, of = (rank, size) if sharded else (0, 1)
        mine = cuts(common, place, of) if sharded or rank == 0 else []
        metadata = {"own": msgspec.json.encode(own_plain).decode()}
        if rank == 0:
            metadata["common"] = msgspec.json.encode(plain).decode()
        return Snapshot([*mine, *cuts(own)], metadata, self.memory)

    def next_number(self) -> int:
        """One more than of any file that is there, so that no attempt mixes with an earlier one."""
        with self.folder.reading("finding a number") as disk:
            numbers = (manifests.number_of(name) for name in disk.list())
            return 1 + max((n for n in numbers if n is not None), default=0)

    def prepare(
        self, snapshot: Snapshot, number: int, step: int, rank: int = 0, size: int = 1
    ) -> Shard:
        """Makes a rank's shard durable under its own name. It is not visible yet.

        Raises CheckpointFailed: this rank votes no, and its half of a file is gone.
        """
        name = manifests.shard_name(number, step, rank, size, self.packed)
        parts, places = [], []
        for i, cut in enumerate(snapshot.cuts):
            digest = checksum(snapshot.data(i))
            old = self._unchanged(cut, digest)
            parts.append(old or cut.part(digest, name))
            if old is None:
                places.append(i)
        head = header([parts[i] for i in places], snapshot.metadata)
        with self._attempt(number, f"step {step}, shard of rank {rank}") as disk:
            pieces: list[Bytes] = [head, *(snapshot.data(i) for i in places)]
            length = publish(disk, name, packed(pieces) if self.packed else pieces)
        faults.point("checkpoint.prepared")
        needed = {part.file for part in parts} - {name}
        older = [f for f in (self._base.files if self._base else ()) if f.name in needed]
        return Shard(rank, (File(name, length, checksum(head), self.packed), *older), tuple(parts))

    def _unchanged(self, cut: Cut, digest: str) -> Part | None:
        if self._base is None:
            return None
        old = self._base_parts.get((cut.name, cut.start, cut.stop))
        same = old is not None and cut.part(digest, old.file) == old
        return old if same else None

    def commit(
        self, shards: list[Shard], number: int, step: int, metrics: dict[str, float] | None = None
    ) -> Manifest:
        """All shards are durable: from the manifest's rename on the checkpoint is there.

        Raises CheckpointFailed, and then it is not there; or is, when only the last fsync failed.
        """
        made = manifests.assemble(number, step, shards, self.made, metrics)
        faults.point("checkpoint.commit")
        with self._attempt(number, f"step {step}, manifest") as disk:
            publish(disk, made.name, [manifests.to_bytes(made)])
        faults.point("checkpoint.committed")
        events.record("checkpoint", step=step)
        self._remember(made)
        return made

    def tidy(self, made: Manifest) -> None:
        """After a commit, by one of its ranks: `latest` names it, and what may go goes."""
        self.point_to(made)
        self.collect()

    def _remember(self, made: Manifest) -> None:
        """The next checkpoint may refer to this one, or must be full."""
        self._since_full += 1
        self._base = made
        if self._since_full >= self.full_every:
            self._base, self._since_full = None, 0
        self._base_parts = {(part.name, part.start, part.stop): part for part in made.parts}

    def point_to(self, made: Manifest) -> None:
        """`latest` names the newest manifest, for people and scripts; it moves only forward."""
        with self._attempt(made.number, "the name in `latest`") as disk:
            if LATEST in disk.list():
                now = manifests.number_of(disk.read(LATEST).decode(errors="replace").strip())
                if now is not None and now >= made.number:
                    return
            publish(disk, LATEST, [f"{made.name}\n".encode()])

    def abandon(self, number: int) -> None:
        """Removes what this run has written for an attempt that was not committed."""
        with self.folder.writing("tidying up") as disk:
            mine = [name for name in disk.list() if manifests.number_of(name) == number]
            if not any(name.endswith(".manifest") for name in mine):
                for name in mine:
                    disk.unlink(name)

    def collect(self) -> list[str]:
        """Removes what `keep` does not keep, and the remains of earlier attempts; returns it."""
        with self.folder.writing("collecting garbage") as disk:
            names = disk.list()
            whole = [m for m in self._listed(disk) if _is_whole(m, disk)]
            going = garbage(whole, names, self.keep)
            visible = [name for name in going if name.endswith(".manifest")]
            for name in visible:
                faults.point("checkpoint.forget")
                disk.unlink(name)
            if visible:
                disk.fsync_dir()  # before any file of theirs goes
            for name in going[len(visible) :]:
                faults.point("checkpoint.collect")
                disk.unlink(name)
        return going

    # -- reading

    def manifests(self) -> list[Manifest]:
        """Of all checkpoints that can be read, oldest first. Their shards are not looked at."""
        with self.folder.reading("listing the checkpoints") as disk:
            return list(self._listed(disk))

    def _listed(self, disk: Disk) -> Iterator[Manifest]:
        for name in disk.list():
            if name.endswith(".manifest"):
                with contextlib.suppress(BadCheckpoint, FileNotFoundError):
                    yield manifests.from_bytes(disk.read(name), name)

    def load(
        self,
        rank: int = 0,
        size: int = 1,
        like: Mapping[str, Any] | None = None,
        reshard: bool = False,
    ) -> Loaded | None:
        """The newest good checkpoint, with a sentence about each newer one that is not; None where
        there is no checkpoint at all.

        `like` is a state as `capture` gives it: its model must have the same tensors, and `made`
        of this store must name the same data. With `reshard` a checkpoint of another world size
        will do; then what each rank had for itself (`OWN`) is left out, since there is nobody to
        give it to. Raises NoGoodCheckpoint with all the sentences when there are some and none of
        them is good.
        """
        with self.folder.reading("loading") as disk:
            return newest(disk, Wanted(rank, size, reshard, self.made, like))

    def close(self) -> None:
        """Lets the next run write here."""
        self.folder.close()

    @contextlib.contextmanager
    def _attempt(self, number: int, what: str) -> Iterator[Disk]:
        """A part of writing checkpoint `number`: what cannot be finished is removed, so that a full
        disk has its room back."""
        try:
            with self.folder.writing(what) as disk:
                yield disk
        except CheckpointFailed:
            with contextlib.suppress(CheckpointFailed, FileNotFoundError):
                self.abandon(number)
            raise


def _is_whole(made: Manifest, disk: Disk) -> bool:
    """By the sizes of its files: a checkpoint that is damaged is not one of the last k."""
    try:
        return all(disk.size(file.name) == file.bytes for file in made.files)
    except FileNotFoundError:
        return False


def versions() -> dict[str, str]:
    return {"labkit": labkit.__version__, "torch": str(torch.__version__)} | {
        "python": platform.python_version()
    }
