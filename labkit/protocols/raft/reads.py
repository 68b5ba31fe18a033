"""Reads that are never stale (ReadIndex; Ongaro's thesis, §6.4), without an entry in the log.

A leader may have been deposed without knowing. So it notes how far it has committed, asks all
followers once more, and answers when a majority has replied to *that* question or a later one: at
that moment nobody else had been elected when the read came in.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from labkit.protocols.effects import Command, Effects, Message, Send
from labkit.protocols.raft.election import LEADER
from labkit.protocols.raft.messages import Appended
from labkit.protocols.raft.sessions import ClientReply, Sessions


class ClientRead(Message, frozen=True):
    serial: int
    command: Command


class Waiting(NamedTuple):
    """A read that waits for a majority's answers to beat number `round`."""

    round: int
    client: int
    read: ClientRead


class Reads(Sessions):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.waiting: list[Waiting] = []  # on leaders

    def on_client_read(self, client: int, m: ClientRead) -> Effects:
        if self.role != LEADER:
            yield Send(client, ClientReply(m.serial, False, leader=self.leader))
        elif self.term_at(self.commit_index) == self.term:
            # Before its first commit a leader does not know how far its predecessors committed.
            yield from self.assert_leadership()  # begins a new round
            self.waiting.append(Waiting(self.round, client, m))
            yield from self.answer_reads()

    def on_appended(self, follower: int, m: Appended) -> Effects:
        yield from super().on_appended(follower, m)
        if self.waiting:
            yield from self.answer_reads()

    def answer_reads(self) -> Effects:
        while self.waiting and self.role == LEADER:
            round, client, read = self.waiting[0]
            if not self.is_quorum({self.me, *(f for f, r in self.rounds.items() if r >= round)}):
                break
            del self.waiting[0]
            # What was committed when the read came in has been applied since.
            yield Send(client, ClientReply(read.serial, True, self.machine.read(read.command)))

    def become_leader(self) -> Effects:
        self.waiting = []
        yield from super().become_leader()

    def become_follower(self, leader: int | None) -> Effects:
        for _, client, read in self.waiting:
            yield Send(client, ClientReply(read.serial, False, leader=leader))
        self.waiting = []
        yield from super().become_follower(leader)
