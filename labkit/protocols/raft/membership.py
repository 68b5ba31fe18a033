"""Raft's membership, one server at a time (Ongaro's thesis, §4.1 and §4.2).

A configuration is an entry of the log and is in force as soon as it is in the log. Two
configurations that differ by one voter have no two majorities apart, so no change needs more than
that; the next one waits until the last is committed, and the first one of a leader until it has
committed an entry of its own term (the bug that Ongaro announced on raft-dev in July 2015). A new
voter first catches up as a *learner*, which is sent the log and does not count.

The configuration of whoever counts decides, and not that of whoever is asked: a node gives its vote
also to one that it knows as no voter, and before it knows that it is a voter itself (§4.1).

An id is used only once: a node draws an *identity* when it first starts on an empty disk, and it is
the pair that is a voter. A node that has lost its disk has forgotten whom it voted for and what it
acknowledged, so its votes and answers count no more; it can come back as a new voter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from msgspec import Struct

from labkit.protocols.effects import Command, Effects, Message, Persist, Record, Send, SetTimer
from labkit.protocols.raft.check_quorum import CheckQuorum
from labkit.protocols.raft.election import LEADER
from labkit.protocols.raft.messages import Entry, Vote
from labkit.protocols.raft.pre_vote import PreVoted

CLOSE = 10
"""A learner that lacks at most so many entries has caught up (§4.2.1)."""

Voters = tuple[tuple[int, int], ...]
"""Pairs of node and identity, in order. A founder has identity 0."""

NOBODY = -1
"""The identity of a node that finds its disk empty."""


class Configuration(Struct, Command, frozen=True, tag=True):
    """A command of the log: who votes from here on."""

    voters: Voters


class ChangeMembership(Message, frozen=True):
    """A wish: let node `add` vote, or node `remove` no longer. Ask again until it is so."""

    add: int | None = None
    remove: int | None = None


class AskIdentity(Message, frozen=True):
    term: int


class Identity(Message, frozen=True):
    identity: int


class Membership(CheckQuorum):
    stored_types: ClassVar[Mapping[str, Any]] = {**CheckQuorum.stored_types, "voters": Voters}

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.configurations: list[tuple[int, Voters]] = []  # by index, the last one in force
        self.learners: dict[int, int] = {}  # node and identity; on leaders
        super().__init__(*arguments, **settings)
        *_, stored = arguments
        self.identity = stored.get("identity", NOBODY)
        if not self.configurations:  # no snapshot has told it
            self.configurations = [(0, stored.get("voters", ())), *self.changes_after(0)]
        self.use_configuration()

    @classmethod
    def found(cls, me: int, members: tuple[int, ...]) -> dict[str, Any]:
        return {"identity": 0, "voters": tuple((member, 0) for member in members)}

    def on_start(self) -> Effects:
        if self.identity == NOBODY:
            self.identity = 1 + self.context.random.getrandbits(48)
            yield Persist(identity=self.identity)
        yield from super().on_start()

    # -- messages

    def on_vote(self, voter: int, m: Vote) -> Effects:
        if not m.granted or self.is_voter(voter, m.identity):
            yield from super().on_vote(voter, m)

    def on_pre_voted(self, voter: int, m: PreVoted) -> Effects:
        if not m.granted or self.is_voter(voter, m.identity):
            yield from super().on_pre_voted(voter, m)

    def on_change_membership(self, sender: int, m: ChangeMembership) -> Effects:
        """Only a leader acts on it, and only when it may; who wishes asks again."""
        if self.role != LEADER or not self.may_change():
            return
        if m.remove is not None and m.remove in self.voters and len(self.voters) > 1:
            rest = tuple(pair for pair in self.configurations[-1][1] if pair[0] != m.remove)
            yield from self.propose(Configuration(rest))
        elif m.remove in self.learners:
            del self.learners[m.remove]
            self.use_configuration()
        elif m.add is not None and m.add not in (self.me, *self.voters, *self.learners):
            self.learners[m.add] = NOBODY
            self.use_configuration()
            yield Send(m.add, AskIdentity(self.term))

    def on_ask_identity(self, leader: int, m: AskIdentity) -> Effects:
        if m.term >= self.term:
            yield Send(leader, Identity(self.identity))

    def on_identity(self, learner: int, m: Identity) -> None:
        if self.learners.get(learner) == NOBODY:
            self.learners[learner] = m.identity
            self.use_configuration()

    # -- timers

    def on_election(self) -> Effects:
        if self.may_stand():
            yield from super().on_election()
        else:
            yield SetTimer("election", self.draw_timeout())

    def on_beat(self) -> Effects:
        yield from super().on_beat()
        if self.role == LEADER and self.learners:
            yield from self.promote_learners()

    def promote_learners(self) -> Effects:
        for learner, identity in sorted(self.learners.items()):
            if identity == NOBODY:
                yield Send(learner, AskIdentity(self.term))
            elif self.is_close(learner) and self.may_change():
                del self.learners[learner]
                voters = tuple(sorted((*self.configurations[-1][1], (learner, identity))))
                yield from self.propose(Configuration(voters))

    def is_close(self, learner: int) -> bool:
        return self.match_index[learner] >= max(1, self.last_index - CLOSE)

    # -- what is in force

    def may_change(self) -> bool:
        """The last change is committed, and so is an entry of this leader's own term."""
        settled = self.configurations[-1][0] <= self.commit_index
        return settled and self.term_at(self.commit_index) == self.term

    def use_configuration(self) -> None:
        """§4.1: the latest configuration in the log, whether it is committed or not."""
        self.voters = dict(self.configurations[-1][1])
        self.followers = {**self.voters, **self.learners}
        self.others = tuple(sorted(self.followers.keys() - {self.me}))
        if self.role == LEADER:
            self.follow(self.others)

    def log_changed(self, start: int) -> None:
        last = self.configurations[-1][0]
        kept = [c for c in self.configurations if c[0] < start]
        new = list(self.changes_after(start - 1))
        if new or last >= start:
            self.configurations = [*kept, *new]
            self.use_configuration()

    def changes_after(self, index: int) -> Iterator[tuple[int, Voters]]:
        base = self.snapshot.index
        for place in range(index - base, len(self.log)):
            command = self.log[place].command
            if isinstance(command, Configuration):
                yield base + place + 1, command.voters

    def apply(self, index: int, entry: Entry) -> Effects:
        if not isinstance(entry.command, Configuration):
            yield from super().apply(index, entry)
            return
        yield Record("note", "has a new configuration", voters=[n for n, _ in entry.command.voters])
        removed = self.me not in self.voters and index == self.configurations[-1][0]
        if self.role == LEADER and removed:
            yield from self.become_follower(None)  # §4.2.2: it has led its own removal to the end

    def become_follower(self, leader: int | None) -> Effects:
        if self.learners:
            self.learners = {}
            self.use_configuration()
        yield from super().become_follower(leader)

    # -- who votes and who stands

    def is_voter(self, node: int, identity: int) -> bool:
        return self.voters.get(node) == identity

    def may_stand(self) -> bool:
        """§4.2.2: also who votes no longer, until that is committed: nobody else may be able to
        win, since the log of who has heard of it is the longest."""
        for index, voters in reversed(self.configurations):
            if (self.me, self.identity) in voters:
                return True
            if index <= self.commit_index:
                break
        return False

    # -- snapshots hold the configuration

    def state(self) -> Any:
        applied = [voters for index, voters in self.configurations if index <= self.last_applied]
        return {"voters": applied[-1], "rest": super().state()}

    def restore(self, state: Any) -> None:
        voters = tuple((node, identity) for node, identity in state["voters"])
        self.configurations = [(self.snapshot.index, voters)]
        self.configurations += self.changes_after(self.snapshot.index)
        self.use_configuration()
        super().restore(state["rest"])
