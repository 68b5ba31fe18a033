"""A folder of checkpoints: writing one in two steps, finding the newest good one, tidying up.

Writing has the two steps of a two-phase commit, whoever takes them:

- `prepare`: a rank makes its shard durable, and can then promise that it has it (it votes yes);
- `commit`: when all ranks have, the manifest is written: the checkpoint is there.

Who decides is the business of a `Committer` (`background.py`): one process does it at once, many
vote first (`labkit.protocols.two_phase_commit`), and then any of them may `commit_prepared`. What
is not committed is `abandon`ed.

    store = Store("runs/mine", keep=Keep(last=3))
    store.save(capture(pieces), step=100)
    loaded = store.load()     # None when there is nothing; else loaded.state, loaded.remarks

Loading deletes nothing and changes nothing: the folder may be on a read-only mount.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from labkit import events, faults
from labkit.checkpoint import attempts
from labkit.checkpoint import manifest as manifests
from labkit.checkpoint.files import publish
from labkit.checkpoint.folder import CheckpointFailed, Folder
from labkit.checkpoint.incremental import Increments
from labkit.checkpoint.load import Loaded, Wanted, is_whole, newest
from labkit.checkpoint.manifest import (
    BadCheckpoint,
    Bytes,
    File,
    Made,
    Manifest,
    Part,
    Prepared,
    Shard,
    checksum,
)
from labkit.checkpoint.packing import packed
from labkit.checkpoint.retention import Keep, garbage
from labkit.checkpoint.shards import cuts, header
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
        self.increments, self.packed = Increments(full_every), "zstd" if pack else ""
        self.describe(made)
        self.memory = Memory()
        self.shared = False
        self.floor = 1  # the least number of the next checkpoint

    def describe(self, made: Made) -> None:
        """Of which training the checkpoints are, and by which versions they are written: here."""
        self.made = msgspec.structs.replace(made, versions=manifests.versions() | made.versions)

    # -- writing

    def share(self, run: str) -> None:
        """All ranks of `run` vote on what is written here, and any of them may commit it, also in a
        later life: so each leaves a note of its part."""
        self.folder.share(run)
        self.shared = True

    def save(
        self, state: Mapping[str, Any], step: int, metrics: dict[str, float] | None = None
    ) -> Manifest:
        """Writes the state of a run of one rank, and returns when it is durable.

        Raises CheckpointFailed, with what to do; nothing is visible then.
        """
        snapshot = self.snapshot(state)
        snapshot.copy()
        number = self.next_number()
        made = self.commit([self.prepare(snapshot, number, step)], number, step, metrics)
        self.increments.remember(made)
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
            return max(self.floor, 1 + max((n for n in numbers if n is not None), default=0))

    def prepare(
        self,
        snapshot: Snapshot,
        number: int,
        step: int,
        rank: int = 0,
        size: int = 1,
        metrics: Mapping[str, float] | None = None,
    ) -> Shard:
        """Makes a rank's shard durable under its own name, and in a shared folder also what others
        need to commit it (`Prepared`). It is not visible yet.

        Raises CheckpointFailed: this rank votes no, and its files of this attempt are gone.
        """
        name = manifests.shard_name(number, step, rank, size, self.packed)
        parts, fresh = self._parts(snapshot, name)
        head = header([parts[i] for i in fresh], snapshot.metadata)
        pieces: list[Bytes] = [head, *(snapshot.data(i) for i in fresh)]
        try:
            with self.folder.writing(f"step {step}, shard of rank {rank}") as disk:
                length = publish(disk, name, packed(pieces) if self.packed else pieces)
                file = File(name, length, checksum(head), self.packed)
                shard = Shard(rank, (file, *self.increments.older(parts, name)), tuple(parts))
                if self.shared:
                    known = manifests.finite(metrics)
                    note = Prepared(number, step, size, self.made, known, shard)
                    called = manifests.prepared_name(number, step, rank, size)
                    publish(disk, called, [manifests.to_bytes(note)])
        except CheckpointFailed:
            self.abandon(number, rank)
            raise
        faults.point("checkpoint.prepared")
        return shard

    def _parts(self, snapshot: Snapshot, name: str) -> tuple[list[Part], list[int]]:
        """Where each cut is to be found, and which of them the file `name` has to hold."""
        parts, fresh = [], []
        for i, cut in enumerate(snapshot.cuts):
            digest = checksum(snapshot.data(i))
            old = self.increments.unchanged(cut, digest)
            parts.append(old or cut.part(digest, name))
            if old is None:
                fresh.append(i)
        return parts, fresh

    def commit(
        self,
        shards: Sequence[Shard],
        number: int,
        step: int,
        metrics: Mapping[str, float] | None = None,
    ) -> Manifest:
        """For a run of one rank: its shard is durable, and so decided. Raises CheckpointFailed, and
        the attempt is gone; except when only the last fsync failed, then it may be there."""
        made = manifests.assemble(number, step, shards, self.made, metrics)
        try:
            return self._publish(made)
        except CheckpointFailed:
            with contextlib.suppress(CheckpointFailed, FileNotFoundError):
                self.abandon(number)
            raise

    def commit_prepared(self, number: int, rank: int = 0) -> Manifest:
        """It is decided that attempt `number` is committed: does that, from what all its ranks have
        written down. Any of them may, several at once, and again after a crash.

        Raises BadCheckpoint when a rank's note is not there or not of this attempt, and
        CheckpointFailed.
        """
        while True:
            with self.folder.reading(f"reading what was prepared as {number}") as disk:
                found = attempts.whole(disk, number)
            if isinstance(found, Manifest):
                return found
            first, shards = found[0], [note.shard for note in found]
            made = manifests.assemble(number, first.step, shards, first.made, first.metrics)
            with contextlib.suppress(FileNotFoundError):  # committed and tidied up by another rank
                return self._publish(made, rank)

    def in_doubt(self) -> dict[int, list[int]]:
        """By number, the attempts that are prepared and not committed, and by which ranks."""
        with self.folder.reading("looking for what was not finished") as disk:
            return attempts.in_doubt(disk.list())

    def _publish(self, made: Manifest, rank: int = 0) -> Manifest:
        """From the rename in here on the checkpoint is there."""
        faults.point("checkpoint.commit")
        with self.folder.writing(f"step {made.step}, manifest") as disk:
            publish(disk, made.name, [manifests.to_bytes(made)], by=f"rank-{rank}")
        faults.point("checkpoint.committed")
        events.record("checkpoint", step=made.step)
        return made

    def tidy(self, made: Manifest) -> None:
        """After a commit, by one of its ranks: `latest` names it, and what may go goes."""
        self.point_to(made)
        self.collect()

    def point_to(self, made: Manifest) -> None:
        """`latest` names the newest manifest, for people and scripts; it moves only forward."""
        faults.point("checkpoint.latest")
        with self.folder.writing("writing `latest`") as disk:
            if LATEST in disk.list():
                now = manifests.number_of(disk.read(LATEST).decode(errors="replace").strip())
                if now is not None and now >= made.number:
                    return
            publish(disk, LATEST, [f"{made.name}\n".encode()])

    def abandon(self, number: int, rank: int | None = None) -> None:
        """It is decided that attempt `number` is not committed: removes what is left of it, as far
        as possible, or what is one rank's: others may still be writing. One that is committed
        stays."""
        with contextlib.suppress(CheckpointFailed), self.folder.writing("tidying up") as disk:
            names = [name for name in disk.list() if manifests.number_of(name) == number]
            if any(name.endswith(".manifest") for name in names):
                return
            for name in names:
                if rank is None or manifests.rank_of(name) == rank:
                    _unlink(disk, name)

    def collect(self) -> list[str]:
        """Removes what `keep` does not keep, and the remains of earlier attempts; returns it."""
        with self.folder.writing("collecting garbage") as disk:
            names = disk.list()
            whole = [m for m in self._listed(disk) if is_whole(m, disk)]
            going = garbage(whole, names, self.keep)
            visible = [name for name in going if name.endswith(".manifest")]
            for name in visible:
                faults.point("checkpoint.forget")
                _unlink(disk, name)
            if visible:
                disk.fsync_dir()  # before any file of theirs goes
            for name in going[len(visible) :]:
                faults.point("checkpoint.collect")
                _unlink(disk, name)
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
                    yield manifests.from_bytes(disk.read(name), name, Manifest)

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


def _unlink(disk: Disk, name: str) -> None:
    """Another rank may have done it, or given the file the name that it was to have."""
    with contextlib.suppress(FileNotFoundError):
        disk.unlink(name)
