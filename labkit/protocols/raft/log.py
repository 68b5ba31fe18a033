"""Raft's log (Ongaro and Ousterhout 2014, §5.3 and §5.4): what a majority has is not forgotten.

The leader appends commands to its log and sends what each follower lacks. An entry that is on the
disks of a majority is *committed* and is applied, on every node in the order of the log. A
candidate whose log is behind that of a voter does not get its vote (§5.4.1), so that whoever leads
next has all committed entries.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Apply, Broadcast, Command, Effects, Message, Send, SetTimer
from labkit.protocols.raft.election import FOLLOWER, LEADER
from labkit.protocols.raft.entries import Entries
from labkit.protocols.raft.machine import KeyValue
from labkit.protocols.raft.messages import Appended, AppendEntries, Entry


class Log(Entries):
    """`machine` is what the commands are for: `apply(command)`, `snapshot()`, `restore(state)`.
    A message has at most `batch` entries."""

    def __init__(
        self,
        *arguments: Any,
        batch: int = 64,
        machine: type[KeyValue] = KeyValue,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.batch = batch
        # Volatile state on all servers
        self.leader_seen = float("-inf")  # when it was heard of last, on this node's clock
        self.commit_index = self.last_applied = self.snapshot.index
        self.machine = machine()
        # Volatile state on leaders
        self.round = 0
        self.followers = self.voters  # and their identities
        self.next_index: dict[int, int] = {}  # by follower
        self.match_index: dict[int, int] = {}
        self.rounds: dict[int, int] = {}  # the latest beat that each has answered in this term
        self.heard_at: dict[int, float] = {}  # when it answered last, or was first asked

    # -- messages

    def on_append_entries(self, leader: int, m: AppendEntries) -> Effects:
        if m.term != self.term:
            if m.term < self.term:
                yield self.refusal(leader)
                return
            yield from self.observe_term(m.term)
        if self.leader == leader and self.role == FOLLOWER:  # as nearly always
            self.leader_seen = self.context.now
            yield SetTimer("election", self.draw_timeout())
        else:
            yield from self.become_follower(leader)
        if not self.has(m.prev_index, m.prev_term):
            yield Send(leader, self.appended(False, self.retry_index(m), m.round))
            return
        last_new = m.prev_index + len(m.entries)
        if m.entries:
            yield from self.append(m.prev_index + 1, m.entries)
        yield Send(leader, self.appended(True, last_new, m.round))
        # Not beyond what this message has shown to match: what follows may be another leader's.
        if min(m.commit, last_new) > self.commit_index:
            self.commit_index = min(m.commit, last_new)
            yield from self.apply_committed()

    def on_appended(self, follower: int, m: Appended) -> Effects:
        if m.term > self.term:
            yield from self.observe_term(m.term)
        if self.role != LEADER or m.term != self.term:
            return  # an answer to what this node sent in an earlier term says nothing now
        if self.followers.get(follower) != m.identity:
            return  # it has been removed, or it is another disk than the one that belongs
        self.heard_at[follower] = self.context.now
        if m.round > self.rounds[follower]:
            self.rounds[follower] = m.round
        before = self.next_index[follower]
        if m.success and m.index > self.match_index[follower]:
            self.match_index[follower] = m.index
            self.next_index[follower] = max(before, m.index + 1)
            yield from self.progressed(follower)
        elif not m.success and self.match_index[follower] < m.index < before:
            self.next_index[follower] = m.index
        # Only an answer that says something new is answered at once: else each duplicate would
        # bring forth another message, and their number would grow without bound.
        if self.role == LEADER and before != self.next_index[follower] <= self.last_index:
            yield Send(follower, self.append_entries(follower))

    # -- timers

    def on_beat(self) -> Effects:
        yield from self.assert_leadership()
        yield SetTimer("beat", self.timeout / 3, periodic=True)

    # -- the leader

    def become_leader(self) -> Effects:
        self.next_index, self.match_index, self.rounds, self.heard_at = {}, {}, {}, {}
        self.follow(self.others)
        yield from super().become_leader()
        yield from self.propose(None)  # §5.4.2, §8: its own entry commits what earlier terms left

    def become_follower(self, leader: int | None) -> Effects:
        if leader is not None:
            self.leader_seen = self.context.now
        yield from super().become_follower(leader)

    def follow(self, nodes: tuple[int, ...]) -> None:
        """These are sent the log, and nobody else; of a new one nothing is known yet."""
        next_index, now = self.last_index + 1, self.context.now
        self.next_index = {node: self.next_index.get(node, next_index) for node in nodes}
        self.match_index = {node: self.match_index.get(node, 0) for node in nodes}
        self.rounds = {node: self.rounds.get(node, 0) for node in nodes}
        self.heard_at = {node: self.heard_at.get(node, now) for node in nodes}

    def propose(self, command: Command | None) -> Effects:
        """The leader appends a command and sends it to all."""
        yield from self.append(self.last_index + 1, (Entry(self.term, command),))
        yield from self.replicate()
        yield from self.advance_commit_index()  # at once, if it is alone

    def assert_leadership(self) -> Effects:
        self.round += 1
        yield from self.replicate()

    def replicate(self) -> Effects:
        """To each follower what it lacks, as far as is known; the same message where it is one."""
        nexts = set(self.next_index.values())
        if len(nexts) == 1:
            yield Broadcast(self.others, self.append_entries(self.others[0]))
        else:
            for follower in self.others:
                yield Send(follower, self.append_entries(follower))

    def append_entries(self, follower: int) -> Message:
        prev = self.next_index[follower] - 1
        base = self.snapshot.index
        entries = tuple(self.log[prev - base : prev - base + self.batch])
        return AppendEntries(
            self.term, prev, self.term_at(prev), entries, self.commit_index, self.round
        )

    def advance_commit_index(self) -> Effects:
        """§5.3, §5.4.2: what a majority has is committed, if an entry of this term shows it."""
        index = self.majority_index()
        if index > self.commit_index and self.term_at(index) == self.term:
            self.commit_index = index
            yield from self.apply_committed()

    def majority_index(self) -> int:
        """The highest index that is on the disks of a majority of the voters."""
        match = self.match_index
        indices = [match.get(node, 0) for node in self.voters if node != self.me]
        if self.me in self.voters:
            indices.append(self.last_index)
        indices.sort()
        return indices[(len(indices) - 1) // 2]

    def progressed(self, follower: int) -> Effects:
        """More of the log is on this follower's disk."""
        yield from self.advance_commit_index()

    # -- a follower's answers

    def refusal(self, leader: int) -> Send:
        """To a leader of an earlier term. It echoes no round: should that node lead this term by
        now, it would take it for an answer to a beat of today, and answer reads by it."""
        return Send(leader, self.appended(False, 0, 0))

    def appended(self, success: bool, index: int, round: int) -> Appended:
        return Appended(self.term, success, index, round, self.identity)

    def retry_index(self, m: AppendEntries) -> int:
        """Where the leader should try next: before all entries of the term that is in the way."""
        if m.prev_index > self.last_index:
            return self.last_index + 1
        index, term = m.prev_index, self.term_at(m.prev_index)
        while index - 1 > self.commit_index and self.term_at(index - 1) == term:
            index -= 1
        return index

    # -- the state machine

    def apply_committed(self) -> Effects:
        while self.last_applied < self.commit_index:
            index = self.last_applied + 1
            entry = self.log[index - self.snapshot.index - 1]
            self.last_applied = index
            yield Apply(index, entry.command)
            yield from self.apply(index, entry)

    def apply(self, index: int, entry: Entry) -> Effects:
        if entry.command is not None:
            self.machine.apply(entry.command)
        yield from ()
