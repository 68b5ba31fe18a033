"""A participant of two-phase commit: prepares, votes, and does as it is told.

With its yes it gives away the right to abort: from then on it is *in doubt*, until it hears the
decision. What it does when it hears none stands in `in_doubt`.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Apply, CancelTimer, Effects, Persist, Send, SetTimer
from labkit.protocols.two_phase_commit.in_doubt import InDoubt
from labkit.protocols.two_phase_commit.messages import Acknowledged, Decision, Prepare, Voted


class Participant(InDoubt):
    """Override `prepare` and `finish` for what a transaction really is; `Apply(transaction,
    commit)` is its end."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        # Persistent state: the latest transaction on which it has had its say: on that and earlier
        # ones it votes no more
        self.fence: int = arguments[3].get("fence", 0)
        # Volatile state: whose question still waits for `prepare`
        self.preparing: dict[int, tuple[int, Prepare]] = {}

    def prepare(self, m: Prepare) -> bool | None:
        """Makes everything durable that a commit will need; False when it cannot. None when that
        takes time: a `Voted` to this participant tells how it went."""
        return True

    def finish(self, m: Prepare, commit: bool) -> dict[str, Any]:
        """Does what was prepared, or undoes it; after a crash perhaps once more. What it returns
        becomes durable together with the end of the transaction."""
        return {}

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
