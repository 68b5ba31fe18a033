"""What a node of Raft has in its log (Ongaro and Ousterhout 2014, §5.3): entries, from index 1 on.

An entry is known by its index and its term: two logs that have an entry with the same index and
term are the same up to there (Log Matching). The log may begin after a snapshot of what came
before, which is the matter of a later file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Struct

from labkit.protocols.effects import Effects, Persist, Splice, Stored
from labkit.protocols.raft.election import Election
from labkit.protocols.raft.messages import Entry


class Snapshot(Struct, frozen=True):
    """What the entries up to `index` came to; `term` is that of the entry at `index`."""

    index: int = 0
    term: int = 0
    state: Any = None


class Entries(Election):
    stored_types: ClassVar[Mapping[str, Any]] = {"log": Entry, "snapshot": Snapshot}

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        *_, stored = arguments
        # Persistent state on all servers
        self.snapshot: Snapshot = stored.get("snapshot", Snapshot())
        self.log: list[Entry] = stored.get("log", Stored()).items  # after the snapshot

    @property
    def last_index(self) -> int:
        return self.snapshot.index + len(self.log)

    def last_entry(self) -> tuple[int, int]:
        return self.term_at(self.last_index), self.last_index

    def term_at(self, index: int) -> int:
        """The term of the entry at an index from the snapshot's to the last one."""
        base = self.snapshot.index
        return self.snapshot.term if index == base else self.log[index - base - 1].term

    def has(self, index: int, term: int) -> bool:
        """Whether the log is the leader's up to here (Log Matching, §5.3). What a snapshot covers
        was committed, so that every leader has it."""
        base = self.snapshot.index
        if index <= base:
            return index < base or term == self.snapshot.term
        return index <= base + len(self.log) and self.log[index - base - 1].term == term

    def append(self, start: int, entries: tuple[Entry, ...]) -> Effects:
        """Writes the entries that are not here yet, over whatever is in conflict with them."""
        base = self.snapshot.index
        new = max(0, base + 1 - start)  # what the snapshot covers is here
        while new < len(entries) and self.has(start + new, entries[new].term):
            new += 1
        if new < len(entries):
            at = start + new
            self.log[at - base - 1 :] = entries[new:]
            self.log_changed(at)
            yield Persist(log=Splice(at, entries[new:]))  # before anyone is told that it is here

    def log_changed(self, start: int) -> None:
        """The entries from `start` on are new."""
