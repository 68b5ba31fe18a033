"""Simulated nodes with real journals on disks that are simulated byte by byte.

    Simulation(Raft, n=3, seed=17, storage=journaled(Raft, seed=17))

Ten times slower than `Storage`, whose records are objects; the same runs, but for what a failed
write leaves behind.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from labkit.protocols.effects import stored_types
from labkit.protocols.journal import Journal, JournalDamaged
from labkit.simulator.disk import SimulatedDisk
from labkit.simulator.node import Factory
from labkit.simulator.storage import Storage


class JournalStorage(Storage):
    """`disk` may be broken by hand between two events."""

    def __init__(self, first: Mapping[str, Any], types: Mapping[str, Any], seed: str) -> None:
        super().__init__({})
        self.disk, self.types = SimulatedDisk(seed), types
        self._open(first)

    def persist(self, values: Mapping[str, Any]) -> None:
        if self.failing:
            self.failing = False
            if self.disk.draw.random() < 0.5:
                self.disk.full = True
            else:
                self.disk.fail_fsync = True
        self.journal.append(values)

    def lie(self) -> None:
        self.disk.lying = True

    def crash(self) -> None:
        self.disk.lose_power()
        self._open()

    def wipe(self) -> None:
        self.disk.wipe()
        self._open()

    def _open(self, first: Mapping[str, Any] | None = None) -> None:
        try:
            self.journal = Journal(self.disk, types=self.types, first=first)
        except JournalDamaged:  # its advice is taken: the file is moved away
            self.disk.wipe()
            self.journal = Journal(self.disk, types=self.types)
        self.stored = self.journal.stored


def journaled(protocol: Factory, seed: int = 0) -> Callable[[Mapping[str, Any]], Storage]:
    """The `storage` of a `Simulation` of this protocol: each node has a disk of its own."""
    numbers = itertools.count()
    types = stored_types(protocol)
    return lambda first: JournalStorage(first, types, f"{seed}/{next(numbers)}")
