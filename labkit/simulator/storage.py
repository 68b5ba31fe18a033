"""The disk of a simulated node, as far as a protocol can see it: what was persisted, and what of it
is still there after a crash.

Records stay objects here, for speed: a record that was being written when the power failed is there
or it is not, which is what the journal's checksums make of torn writes. `labkit.simulator.disk`
plays the same game byte by byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.disk import DiskFailure
from labkit.protocols.effects import Stored, store


class Storage:
    """`stored` is what a node would find if it were restarted now."""

    def __init__(self, first: Mapping[str, Any]) -> None:
        self.stored: dict[str, Any] = dict(first)
        self.failing = False
        self._synced: dict[str, Any] | None = None  # what survives when the disk lies

    def persist(self, values: Mapping[str, Any]) -> None:
        if self.failing:
            self.failing = False
            raise DiskFailure("the disk failed: no space left, or an input/output error")
        store(self.stored, values)

    def lie(self) -> None:
        """From now on what is persisted is lost at the next crash."""
        if self._synced is None:
            self._synced = self.recover()

    def crash(self) -> None:
        if self._synced is not None:
            self.stored, self._synced = self._synced, None

    def wipe(self) -> None:
        self.stored, self._synced = {}, None

    def recover(self) -> dict[str, Any]:
        """What a restarted node reads: a copy, so that it cannot change its disk by accident."""
        return {
            name: Stored(value.first, list(value.items)) if isinstance(value, Stored) else value
            for name, value in self.stored.items()
        }
