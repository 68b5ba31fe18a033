"""Snapshots of Raft's log (Ongaro and Ousterhout 2014, §7): what has been applied need not be kept.

Every node folds its applied entries into a snapshot by itself, without asking the leader. A
follower that lacks an entry which the leader no longer has is sent the snapshot instead.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Effects, Message, Persist, Send, Stored
from labkit.protocols.raft.entries import Snapshot
from labkit.protocols.raft.log import Log
from labkit.protocols.raft.messages import Entry


class InstallSnapshot(Message, frozen=True):
    """In one piece. The answer is an `Appended`: the log matches up to where the snapshot ends."""

    term: int
    snapshot: Snapshot
    round: int


class Snapshots(Log):
    """After `compact` applied entries they are folded into a snapshot."""

    def __init__(self, *arguments: Any, compact: int = 1000, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.compact = compact
        if self.snapshot.state is not None:
            self.restore(self.snapshot.state)

    def on_install_snapshot(self, leader: int, m: InstallSnapshot) -> Effects:
        yield from self.observe_term(m.term)
        if m.term < self.term:
            yield self.refusal(leader)
            return
        yield from self.become_follower(leader)
        if m.snapshot.index > self.commit_index:
            # What follows the snapshot is kept if the entry at its end is the one that is here.
            keep = self.has(m.snapshot.index, m.snapshot.term)
            rest = self.log[m.snapshot.index - self.snapshot.index :] if keep else []
            yield from self.save_snapshot(m.snapshot, rest)
            self.commit_index = self.last_applied = m.snapshot.index
            self.restore(m.snapshot.state)
        yield Send(leader, self.appended(True, m.snapshot.index, m.round))

    def append_entries(self, follower: int) -> Message:
        if self.next_index[follower] <= self.snapshot.index:
            return InstallSnapshot(self.term, self.snapshot, self.round)
        return super().append_entries(follower)

    def apply_committed(self) -> Effects:
        yield from super().apply_committed()
        if self.last_applied - self.snapshot.index >= self.compact:
            yield from self.take_snapshot()

    def take_snapshot(self) -> Effects:
        index = self.last_applied
        snapshot = Snapshot(index, self.term_at(index), self.state())
        yield from self.save_snapshot(snapshot, self.log[index - self.snapshot.index :])

    def save_snapshot(self, snapshot: Snapshot, rest: list[Entry]) -> Effects:
        self.snapshot, self.log = snapshot, list(rest)
        yield Persist(snapshot=snapshot, log=Stored(snapshot.index + 1, rest))  # both or neither

    def state(self) -> Any:
        """What a snapshot holds, as plain data."""
        return self.machine.snapshot()

    def restore(self, state: Any) -> None:
        self.machine.restore(state)
