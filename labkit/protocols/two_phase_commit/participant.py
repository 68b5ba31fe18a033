"""A participant of two-phase commit: prepares, votes, and does as it is told.

With its yes it gives away the right to abort: from then on it is *in doubt*, until it hears the
decision. When it hears nothing it asks the coordinator and the other participants (cooperative
termination: Bernstein, Hadzilacos and Goodman 1987, §7.4); it says that it is in doubt, and guesses
nothing, however long it takes.
"""

from __future__ import annotations

from typing import Any, ClassVar

from labkit.protocols.effects import (
    Apply,
    Broadcast,
    CancelTimer,
    Effects,
    Persist,
    Protocol,
    Record,
    Send,
    SetTimer,
)
from labkit.protocols.two_phase_commit.messages import (
    Acknowledged,
    Decision,
    Inquire,
    Prepare,
    Ranks,
    Voted,
)


class Participant(Protocol):
    """Override `prepare` and `finish` for what a transaction really is; `Apply(transaction,
    commit)` is its end. `patience` in seconds: how long it waits for a decision before it asks for
    it, again and again. Of several `coordinators` any may know."""

    stored_types: ClassVar[dict[str, Any]] = {"prepared": tuple[Prepare, ...]}

    def __init__(
        self, *arguments: Any, coordinators: Ranks | None = None, patience: float = 0.5
    ) -> None:
        super().__init__(*arguments)
        self.coordinators = coordinators or self.members[:1]
        self.patience = patience
        # Persistent state: what it has voted yes on; how others ended, until everybody knows; and
        # the latest on which it has had its say: on that and earlier ones it votes no more
        stored = arguments[3]
        self.prepared: dict[int, Prepare] = {m.transaction: m for m in stored.get("prepared", ())}
        self.ended: dict[int, bool] = dict(stored.get("ended", ()))
        self.fence: int = stored.get("fence", 0)
        # Volatile state: whose question still waits for `prepare`
        self.preparing: dict[int, tuple[int, Prepare]] = {}

    @property
    def in_doubt(self) -> Ranks:
        """The transactions that it can neither commit nor abort by itself."""
        return tuple(self.prepared)

    def prepare(self, m: Prepare) -> bool | None:
        """Makes everything durable that a commit will need; False when it cannot. None when that
        takes time: a `Voted` to this participant tells how it went."""
        return True

    def finish(self, m: Prepare, commit: bool) -> dict[str, Any]:
        """Does what was prepared, or undoes it; after a crash perhaps once more. What it returns
        becomes durable together with the end of the transaction."""
        return {}

    def on_start(self) -> Effects:
        for transaction in self.in_doubt:
            yield from self.on_decision_due(transaction)

    # -- messages

    def on_prepare(self, coordinator: int, m: Prepare) -> Effects:
        self.ended = {t: commit for t, commit in self.ended.items() if t >= m.settled}
        if m.transaction in self.prepared:
            yield Send(coordinator, Voted(m.transaction, True))
        elif m.transaction <= self.fence:
            yield Send(coordinator, Voted(m.transaction, False))
        elif m.transaction not in self.preparing:
            self.preparing[m.transaction] = coordinator, m
            ready = self.prepare(m)
            if ready is not None:
                yield from self.vote(m.transaction, ready)

    def on_voted(self, sender: int, m: Voted) -> Effects:
        if m.transaction in self.preparing:
            yield from self.vote(m.transaction, m.yes)

    def on_decision(self, sender: int, m: Decision) -> Effects:
        if m.transaction in self.prepared:
            yield from self.end(m.transaction, m.commit)
        elif not m.commit:
            yield from self.refuse(m.transaction)
        if m.commit and m.transaction <= self.fence and sender in self.coordinators:
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
        fellows = tuple(p for p in self.prepared[transaction].participants if p != self.me)
        yield Record("note", "is in doubt", transaction=transaction)
        yield Broadcast((*self.coordinators, *fellows), Inquire(transaction))
        yield SetTimer("decision_due", self.patience, transaction)

    # -- helpers

    def vote(self, transaction: int, yes: bool) -> Effects:
        coordinator, m = self.preparing[transaction]
        if yes and transaction > self.fence:
            del self.preparing[transaction]
            self.prepared[transaction], self.fence = m, transaction
            # A yes must outlive a crash: it is a promise.
            yield Persist(prepared=tuple(self.prepared.values()), fence=self.fence)
            yield Send(coordinator, Voted(transaction, True))
            yield SetTimer("decision_due", self.patience, transaction)
        else:
            yield from self.refuse(transaction)
            yield Send(coordinator, Voted(transaction, False))

    def refuse(self, transaction: int) -> Effects:
        """It has not voted yes, so it may abort by itself; it will not vote yes any more."""
        if transaction in self.preparing:
            self.finish(self.preparing.pop(transaction)[1], False)
        if transaction > self.fence:
            self.fence = transaction
            yield Persist(fence=self.fence)

    def end(self, transaction: int, commit: bool) -> Effects:
        """Applied first and written down then: after a crash between the two it is applied again,
        by the same decision."""
        changes = self.finish(self.prepared.pop(transaction), commit)
        self.ended[transaction] = commit
        yield Apply(transaction, commit)
        prepared, ended = tuple(self.prepared.values()), tuple(self.ended.items())
        yield Persist(prepared=prepared, ended=ended, **changes)
        yield CancelTimer("decision_due", transaction)
