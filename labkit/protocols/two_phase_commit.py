"""Two-phase commit with presumed abort (J. Gray, "Notes on Data Base Operating Systems", 1978;
C. Mohan, B. Lindsay and R. Obermarck, ACM TODS 1986): all participants commit, or none does.

Phase one: the coordinator asks all to prepare. Who votes yes has written down all that it needs to
commit, and has given away its right to abort. Phase two: when all have voted yes the coordinator
writes *commit* down, and that write is the moment of the decision; then it tells them. An abort is
not written down: where the coordinator finds nothing it answers *abort*.

A participant that has voted yes and hears no more is *in doubt*. It asks the coordinator and the
other participants (cooperative termination: P. Bernstein, V. Hadzilacos and N. Goodman,
"Concurrency Control and Recovery in Database Systems", 1987, §7.4) and guesses nothing: when the
coordinator is gone and all others are in doubt too, it stays blocked and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.protocols.effects import (
    Apply,
    Broadcast,
    CancelTimer,
    Context,
    Effects,
    Message,
    Persist,
    Protocol,
    Record,
    Send,
    SetTimer,
)

LIVES = 1 << 20
"""Transactions in one life of a coordinator, at most: a later life numbers from higher on."""


class Begin(Message, frozen=True):
    """A client's wish: commit `payload`, which each participant understands."""

    payload: Any = None


class Prepare(Message, frozen=True):
    transaction: int
    payload: Any


class Voted(Message, frozen=True):
    transaction: int
    yes: bool


class Decision(Message, frozen=True):
    transaction: int
    commit: bool


class Acknowledged(Message, frozen=True):
    """The sender has made the commit durable, and will never ask about it."""

    transaction: int


class Inquire(Message, frozen=True):
    """What became of it? From a participant that is in doubt."""

    transaction: int


class Coordinator(Protocol):
    """Runs transactions over `participants`; `patience` in seconds is how long it waits for votes,
    and how often it tells a commit again to those who have not acknowledged."""

    def __init__(
        self,
        me: int,
        members: tuple[int, ...],
        context: Context,
        stored: Mapping[str, Any],
        *,
        participants: tuple[int, ...] | None = None,
        patience: float = 0.3,
    ) -> None:
        super().__init__(me, members, context, stored)
        self.participants = self.peers if participants is None else participants
        self.patience = patience
        # Durable: its number of lives, and the commits that not everybody has acknowledged
        self.lives: int = stored.get("lives", 0)
        self.committed: tuple[int, ...] = stored.get("committed", ())
        # Volatile: votes while it asks, acknowledgements while it tells
        self.next = 0
        self.votes: dict[int, set[int]] = {}
        self.missing: dict[int, set[int]] = {t: set(self.participants) for t in self.committed}

    @property
    def leads(self) -> bool:
        return True

    def on_start(self) -> Effects:
        """What it was asking about when it crashed is forgotten, and so aborted."""
        self.lives += 1
        self.next = self.lives * LIVES
        yield Persist(lives=self.lives)
        for transaction in self.committed:
            yield from self.on_tell(transaction)

    # -- messages

    def on_begin(self, client: int, m: Begin) -> Effects:
        transaction, self.next = self.next, self.next + 1
        self.votes[transaction] = set()
        yield Broadcast(self.participants, Prepare(transaction, m.payload))
        yield SetTimer("votes_due", self.patience, transaction)

    def on_voted(self, participant: int, m: Voted) -> Effects:
        if m.transaction not in self.votes:
            return  # decided already
        if not m.yes:
            yield from self.abort(m.transaction)
            return
        self.votes[m.transaction].add(participant)
        if self.votes[m.transaction] == set(self.participants):
            yield from self.commit(m.transaction)

    def on_inquire(self, participant: int, m: Inquire) -> Effects:
        """Presumed abort: what is neither under way nor written down was not committed."""
        if m.transaction not in self.votes:
            yield Send(participant, Decision(m.transaction, m.transaction in self.committed))

    def on_acknowledged(self, participant: int, m: Acknowledged) -> Effects:
        missing = self.missing.get(m.transaction, set())
        missing.discard(participant)
        if m.transaction in self.committed and not missing:
            self.committed = tuple(t for t in self.committed if t != m.transaction)
            del self.missing[m.transaction]
            yield CancelTimer("tell", m.transaction)
            yield Persist(committed=self.committed)  # nobody will ask: it may be forgotten

    # -- timers

    def on_votes_due(self, transaction: int) -> Effects:
        if transaction in self.votes:
            yield from self.abort(transaction)

    def on_tell(self, transaction: int) -> Effects:
        if transaction in self.missing:
            missing = tuple(sorted(self.missing[transaction]))
            yield Broadcast(missing, Decision(transaction, True))
            yield SetTimer("tell", self.patience, transaction)

    # -- the decision

    def commit(self, transaction: int) -> Effects:
        del self.votes[transaction]
        yield CancelTimer("votes_due", transaction)
        self.committed = (*self.committed, transaction)
        self.missing[transaction] = set(self.participants)
        yield Persist(committed=self.committed)  # from here on it is decided
        yield Record("note", "decides to commit", transaction=transaction)
        yield from self.on_tell(transaction)

    def abort(self, transaction: int) -> Effects:
        del self.votes[transaction]
        yield CancelTimer("votes_due", transaction)
        yield Record("note", "decides to abort", transaction=transaction)
        yield Broadcast(self.participants, Decision(transaction, False))


class Participant(Protocol):
    """Prepares, votes, and does as it is told. Override `prepare` for what a transaction really
    is; `Apply(transaction, commit)` is its end. `patience` in seconds: how long it waits for a
    decision before it asks for it, again and again."""

    def __init__(
        self,
        me: int,
        members: tuple[int, ...],
        context: Context,
        stored: Mapping[str, Any],
        *,
        coordinators: tuple[int, ...] = (0,),
        patience: float = 0.5,
    ) -> None:
        super().__init__(me, members, context, stored)
        self.coordinators = coordinators
        self.fellows = tuple(m for m in self.peers if m not in coordinators)
        self.patience = patience
        # Durable: what it has voted yes on, how each transaction ended, and up to which
        # transaction it votes no more
        self.prepared: tuple[int, ...] = stored.get("prepared", ())
        self.ended: dict[int, bool] = dict(stored.get("ended", ()))
        self.fence: int = stored.get("fence", 0)

    @property
    def in_doubt(self) -> tuple[int, ...]:
        """The transactions that it can neither commit nor abort by itself."""
        return self.prepared

    def prepare(self, transaction: int, payload: Any) -> bool:
        """Makes everything durable that a commit will need; False when it cannot."""
        return payload != "refused"

    def on_start(self) -> Effects:
        for transaction in self.prepared:
            yield from self.on_decision_due(transaction)

    # -- messages

    def on_prepare(self, coordinator: int, m: Prepare) -> Effects:
        if m.transaction in self.prepared:
            yield Send(coordinator, Voted(m.transaction, True))
        elif m.transaction > self.fence and self.prepare(m.transaction, m.payload):
            self.prepared, self.fence = (*self.prepared, m.transaction), m.transaction
            yield Persist(prepared=self.prepared, fence=self.fence)  # before it is promised
            yield Send(coordinator, Voted(m.transaction, True))
            yield SetTimer("decision_due", self.patience, m.transaction)
        elif m.transaction not in self.ended:
            yield Send(coordinator, Voted(m.transaction, False))

    def on_decision(self, sender: int, m: Decision) -> Effects:
        if m.transaction in self.prepared:
            yield from self.end(m.transaction, m.commit)
        elif not m.commit:
            yield from self.refuse(m.transaction)
        if m.commit and sender in self.coordinators:
            yield Send(sender, Acknowledged(m.transaction))

    def on_inquire(self, fellow: int, m: Inquire) -> Effects:
        """A fellow is in doubt. Who has not voted yes can still abort, and then never will."""
        if m.transaction in self.ended:
            yield Send(fellow, Decision(m.transaction, self.ended[m.transaction]))
        elif m.transaction not in self.prepared:
            yield from self.refuse(m.transaction)
            yield Send(fellow, Decision(m.transaction, False))

    # -- timers

    def on_decision_due(self, transaction: int) -> Effects:
        """It has voted yes, so that it may not decide: it asks."""
        if transaction in self.prepared:
            yield Record("note", "is in doubt", transaction=transaction)
            yield Broadcast((*self.coordinators, *self.fellows), Inquire(transaction))
            yield SetTimer("decision_due", self.patience, transaction)

    # -- helpers

    def end(self, transaction: int, commit: bool) -> Effects:
        """Applied first and written down then: after a crash between the two it is applied again,
        by the same decision."""
        self.prepared = tuple(t for t in self.prepared if t != transaction)
        self.ended[transaction] = commit
        yield Apply(transaction, commit)
        yield Persist(prepared=self.prepared, ended=tuple(sorted(self.ended.items())))
        yield CancelTimer("decision_due", transaction)

    def refuse(self, transaction: int) -> Effects:
        """It will not vote yes on this one or on an earlier one any more."""
        if transaction > self.fence:
            self.fence = transaction
            yield Persist(fence=self.fence)


def two_phase_commit(
    me: int, members: tuple[int, ...], context: Context, stored: Mapping[str, Any]
) -> Protocol:
    """Node 0 coordinates, the others participate."""
    return (Participant if me else Coordinator)(me, members, context, stored)
