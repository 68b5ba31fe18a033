"""What servers of Raft say to each other (Ongaro and Ousterhout 2014, figure 2)."""

from __future__ import annotations

from msgspec import Struct

from labkit.protocols.effects import Command, Message


class RequestVote(Message, frozen=True):
    term: int
    last_term: int = 0  # of the last entry in the candidate's log, which log.py adds
    last_index: int = 0
    transfer: bool = False  # the old leader asked for this election


class Vote(Message, frozen=True):
    term: int
    granted: bool
    identity: int = 0  # of the voter's disk, for when disks get lost (membership.py)


class Heartbeat(Message, frozen=True):
    term: int  # its leader is alive


class Entry(Struct, frozen=True):
    """One of a log."""

    term: int
    command: Command | None  # None: the entry with which a leader begins its term


class AppendEntries(Message, frozen=True):
    """An empty one is a heartbeat. `round` counts the leader's beats and comes back."""

    term: int
    prev_index: int
    prev_term: int
    entries: tuple[Entry, ...]
    commit: int
    round: int


class Appended(Message, frozen=True):
    """With `success` the follower's log matches up to `index`; else `index` is worth a try.
    `round` is that of the beat that it answers."""

    term: int
    success: bool
    index: int
    round: int
    identity: int = 0  # of the follower's disk
