"""Coverage marks: what a run has really tried, read from its trace. A fault counts when it has
struck, not when it was drawn: a crash inside a handler needs a handler to crash in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from labkit.faults import CrashAt, DiskError, Kill, Restart, WipeDisk
from labkit.protocols.effects import Splice, Stored
from labkit.protocols.raft.messages import AppendEntries
from labkit.protocols.raft.pre_vote import PreVoted, RequestPreVote
from labkit.protocols.raft.sessions import ClientReply
from labkit.protocols.raft.snapshots import InstallSnapshot
from labkit.protocols.raft.transfer import TimeoutNow
from labkit.simulator.recorder import Entry

FAULTS = {
    *("Kill", "Restart", "Revive", "Pause", "Partition", "Cut", "Heal", "Drift", "Slow"),
    *("WipeDisk", "a crash inside a handler", "a failed write"),
    *("a message is lost", "a message comes twice", "a message comes after a time-out"),
    "messages overtake one another",
}
ROLES = {
    *("follower to candidate", "candidate to candidate", "candidate to leader"),
    *("candidate to follower", "leader to follower", "leader to dead", "dead to follower"),
}
RAFT = {
    *("a follower asks before it stands", "a candidate asks before it stands again"),
    *("a PreVote is granted", "a PreVote is refused"),
    *("a snapshot is taken", "a snapshot is installed", "an entry is overwritten"),
    *("a configuration changes", "a leader has removed itself", "a transfer is begun"),
    *("a transfer makes a candidate", "a transfer is given up"),
    *("a client is answered", "a client is sent to the leader"),
}
TIMEOUT = 0.15


def marks(trace: Iterable[Entry]) -> set[str]:
    return set(_Reader().read(trace))


class _Reader:
    """Goes through a trace once."""

    def __init__(self) -> None:
        self.role: dict[int, str] = {}
        self.ends: dict[int, int] = {}  # the index behind the last entry of a node's log
        self.armed: dict[int, set[str]] = {}  # what will make a node crash by itself
        self.struck: Entry | None = None  # the last fault
        self.handling: dict[int, Any] = {}  # the last message, or the name of the timer
        self.flying: dict[tuple[int, int, int], float] = {}  # sent when
        self.arrived: set[tuple[int, int, int]] = set()
        self.latest: dict[tuple[int, int | None], float] = {}  # by link: sent when, of what arrived

    def read(self, trace: Iterable[Entry]) -> Iterator[str]:
        for entry in trace:
            yield from getattr(self, f"_{entry.what}", self._nothing)(entry)
        if self.flying.keys() - self.arrived:
            yield "a message is lost"

    def _nothing(self, entry: Entry) -> Iterator[str]:
        yield from ()

    # -- faults and lives

    def _fault(self, entry: Entry) -> Iterator[str]:
        self.struck = entry
        match entry.detail:
            case CrashAt(rank):
                self.armed.setdefault(rank, set()).add("a crash inside a handler")
            case DiskError(rank):
                self.armed.setdefault(rank, set()).add("a failed write")
            case _:
                yield type(entry.detail).__name__

    def _crash(self, entry: Entry) -> Iterator[str]:
        armed = self.armed.pop(entry.node, set())
        if not self._is_killed(entry) and len(armed) == 1:
            yield armed.pop()
        if self.role.get(entry.node) == "leader":
            yield "leader to dead"
        self.role[entry.node] = "dead"

    def _is_killed(self, entry: Entry) -> bool:
        struck = self.struck
        return (
            struck is not None
            and struck.time == entry.time
            and isinstance(struck.detail, (Kill, Restart, WipeDisk))
        )

    def _start(self, entry: Entry) -> Iterator[str]:
        if self.role.get(entry.node) == "dead":
            yield "dead to follower"
        self.role[entry.node] = "follower"

    # -- messages

    def _send(self, entry: Entry) -> Iterator[str]:
        assert entry.peer is not None
        self.flying[id(entry.detail), entry.node, entry.peer] = entry.time
        match entry.detail:
            case RequestPreVote() if self.role[entry.node] == "follower":
                yield "a follower asks before it stands"
            case RequestPreVote():
                yield "a candidate asks before it stands again"
            case PreVoted(granted=granted):
                yield "a PreVote is granted" if granted else "a PreVote is refused"
            case ClientReply(done=True):
                yield "a client is answered"
            case ClientReply(leader=leader) if leader is not None:
                yield "a client is sent to the leader"
            case TimeoutNow():
                yield "a transfer is begun"

    def _message(self, entry: Entry) -> Iterator[str]:
        assert entry.peer is not None
        self.handling[entry.node] = entry.detail
        key = id(entry.detail), entry.peer, entry.node
        sent = self.flying[key]
        if key in self.arrived:
            yield "a message comes twice"
        self.arrived.add(key)
        if entry.time - sent > TIMEOUT:
            yield "a message comes after a time-out"
        link = entry.peer, entry.node
        if sent < self.latest.get(link, 0.0):
            yield "messages overtake one another"
        self.latest[link] = max(sent, self.latest.get(link, 0.0))

    def _timer(self, entry: Entry) -> Iterator[str]:
        self.handling[entry.node] = entry.detail
        if entry.detail == "transfer" and self.role[entry.node] == "leader":
            yield "a transfer is given up"

    # -- effects

    def _record(self, entry: Entry) -> Iterator[str]:
        record = entry.detail
        if record.kind == "role":
            new = record.name.removeprefix("becomes ")
            yield f"{self.role[entry.node]} to {new}"
            if new == "candidate" and isinstance(self.handling.get(entry.node), TimeoutNow):
                yield "a transfer makes a candidate"
            self.role[entry.node] = new
        elif record.name == "has a new configuration":
            yield "a configuration changes"
            if self.role[entry.node] == "leader" and entry.node not in record.data["voters"]:
                yield "a leader has removed itself"

    def _persist(self, entry: Entry) -> Iterator[str]:
        values, handled = entry.detail.values, self.handling.get(entry.node)
        if "snapshot" in values:
            installed = isinstance(handled, InstallSnapshot)
            yield "a snapshot is installed" if installed else "a snapshot is taken"
        change = values.get("log")
        if isinstance(change, Splice):
            overwrites = change.start < self.ends.get(entry.node, 1)
            if overwrites and isinstance(handled, AppendEntries):
                yield "an entry is overwritten"
            self.ends[entry.node] = change.start + len(change.items)
        elif isinstance(change, Stored):
            self.ends[entry.node] = change.first + len(change.items)
