"""Two-phase commit with something to commit: a participant that writes a shard of a checkpoint on a
simulated disk. For a notebook and for the tests of the fault matrix."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from labkit.disk import DiskFailure
from labkit.protocols.two_phase_commit import Participant, Prepare
from labkit.simulator.disk import SimulatedDisk


class Shards(Participant):
    """The payload is a step. Its shard is written under a temporary name, and is visible under its
    own from the commit on; then the older one goes."""

    def __init__(self, *arguments: Any, disks: Mapping[int, SimulatedDisk], **settings: Any):
        super().__init__(*arguments, **settings)
        self.disk = disks[self.me]
        promised = [f"{m.payload}.tmp" for m in self.prepared.values()]
        for name in self.disk.list():
            if name.endswith(".tmp") and name not in promised:
                self.disk.unlink(name)  # no vote stands behind it

    def prepare(self, m: Prepare) -> bool:
        name, data = f"{m.payload}.tmp", f"rank {self.me}, step {m.payload}".encode()
        try:
            self.disk.write(name, zlib.crc32(data).to_bytes(4, "big") + data)
            self.disk.fsync(name)
            self.disk.fsync_dir()
        except DiskFailure:
            self.disk.unlink(name)
            return False
        return True

    def finish(self, m: Prepare, commit: bool) -> dict[str, Any]:
        temporary, name = f"{m.payload}.tmp", str(m.payload)
        if temporary not in self.disk.list():
            return {}  # done before the crash
        whole = self.disk.read(temporary)
        if not commit or zlib.crc32(whole[4:]).to_bytes(4, "big") != whole[:4]:
            self.disk.unlink(temporary)
            return {"unreadable": name} if commit else {}
        self.disk.rename(temporary, name)
        self.disk.fsync_dir()
        for older in self.disk.list():
            if older.isdigit() and int(older) < m.payload:
                self.disk.unlink(older)
        return {"latest": name}
