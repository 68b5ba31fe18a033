"""A coordinator that does not block: its decision is an entry in a Raft log.

Each replica is a Raft node, and whoever leads coordinates. That a transaction is committed is known
from the moment at which its `Decide` is committed in the log, so that it survives any minority of
the replicas: this is two-phase commit on a coordinator that does not die, of which J. Gray and
L. Lamport ("Consensus on Transaction Commit", ACM TODS 2006) take away one message delay.

A new leader may not presume abort yet: its predecessor, which perhaps only lost its connection,
could still commit. So it first writes `AbortUndecided` into the log. Its term is the epoch, a
`Decide` is proposed in the term of its transaction only, and in a log no term comes before an
earlier one: once that entry is committed, no `Decide` of an earlier epoch can follow it.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from labkit.protocols.effects import CancelTimer, Command, Effects, Protocol
from labkit.protocols.raft import Raft
from labkit.protocols.raft.election import LEADER
from labkit.protocols.raft.messages import Entry
from labkit.protocols.two_phase_commit.coordinator import Coordinator
from labkit.protocols.two_phase_commit.messages import EPOCH, Begin, Inquire, Ranks
from labkit.protocols.two_phase_commit.participant import Participant


class Decide(Struct, Command, frozen=True, tag=True):
    """Commit; and those who must hear of it."""

    transaction: int
    participants: Ranks


class AbortUndecided(Struct, Command, frozen=True, tag=True):
    """All transactions before this number of which no `Decide` stands before this entry."""

    before: int


class Forget(Struct, Command, frozen=True, tag=True):
    """All participants have acknowledged."""

    transaction: int


class ReplicatedCoordinator(Coordinator, Raft):
    """`committed` is the replicated state; what else a coordinator has is the leader's alone."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.committed = {}  # the log has it all, or the snapshot
        if self.snapshot.state is not None:
            self.restore(self.snapshot.state)
        self.questions: set[tuple[int, int]] = set()  # who asked what while nobody could answer

    @property
    def leads(self) -> bool:
        return self.role == LEADER

    @property
    def coordinates(self) -> bool:
        """It leads, and its `AbortUndecided` is committed."""
        return self.leads and self.epoch == self.term

    def on_start(self) -> Effects:
        yield from Raft.on_start(self)

    # -- messages

    def on_begin(self, client: int, m: Begin) -> Effects:
        if self.coordinates:
            yield from super().on_begin(client, m)

    def on_inquire(self, participant: int, m: Inquire) -> Effects:
        if self.coordinates:
            yield from super().on_inquire(participant, m)
        else:
            self.questions.add((participant, m.transaction))

    # -- the decision

    def commit(self, transaction: int) -> Effects:
        """Until the entry is committed nobody knows the outcome, and nobody may abort."""
        yield CancelTimer("again", transaction)
        yield CancelTimer("votes_due", transaction)
        yield from self.propose(Decide(transaction, self.asking[transaction].participants))

    def forget(self, transaction: int) -> Effects:
        yield from self.propose(Forget(transaction))

    def apply(self, index: int, entry: Entry) -> Effects:
        match entry.command:
            case Decide(transaction, participants):
                self.committed[transaction] = participants
                if transaction in self.asking:
                    yield from self.decided(transaction)
            case AbortUndecided() if self.leads and entry.term == self.term:
                yield from self.take_over()
            case AbortUndecided():
                pass
            case Forget(transaction):
                self.committed.pop(transaction, None)
            case _:
                yield from super().apply(index, entry)

    # -- transitions

    def become_leader(self) -> Effects:
        yield from super().become_leader()
        yield from self.propose(AbortUndecided(self.term * EPOCH))

    def take_over(self) -> Effects:
        self.epoch, self.number = self.term, self.term * EPOCH
        for transaction, participants in tuple(self.committed.items()):
            yield from self.say(transaction, participants)
        questions, self.questions = sorted(self.questions), set()
        for participant, transaction in questions:
            yield from self.on_inquire(participant, Inquire(transaction))

    def become_follower(self, leader: int | None) -> Effects:
        for transaction in tuple(self.silent):
            yield from self.stop(transaction)
        if leader is not None:
            self.questions.clear()  # they were put to the leader as well
        yield from super().become_follower(leader)

    # -- snapshots

    def state(self) -> Any:
        return super().state() | {"committed": tuple(self.committed.items())}

    def restore(self, state: Any) -> None:
        self.committed = {transaction: tuple(ranks) for transaction, ranks in state["committed"]}
        super().restore(state)


def replicated_commit(me: int, members: Ranks, *others: Any) -> Protocol:
    """The members are the coordinator's replicas, and all other nodes participate."""
    if me in members:
        return ReplicatedCoordinator(me, members, *others)
    return Participant(me, members, *others, coordinators=members)


replicated_commit.found = ReplicatedCoordinator.found  # type: ignore[attr-defined]
