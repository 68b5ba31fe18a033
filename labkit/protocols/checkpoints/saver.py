"""A rank's part in a checkpoint: a participant whose prepare and whose end take time.

The writer of its process does the work on files; here is what it is told and what it promises. It
wishes for a checkpoint, learns the number of the attempt (`prepares`), says how its shard went
(`Voted`), learns the decision (`is committed`, `is aborted`), and says when the files are as it
was decided (`Finished`). Only then is a commit acknowledged: the coordinator may forget it when the
manifest is there for all to see.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.checkpoints.messages import (
    Ask,
    Finished,
    Outdated,
    Over,
    Save,
    Undecided,
    Want,
    Wish,
    wish_of,
)
from labkit.protocols.effects import Broadcast, CancelTimer, Effect, Effects, Record, SetTimer
from labkit.protocols.two_phase_commit.messages import Acknowledged, Decision, Inquire, Prepare
from labkit.protocols.two_phase_commit.participant import Participant


class Saver(Participant):
    """`members` are the nodes of the views, any of which may coordinate."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, coordinators=arguments[1], **settings)
        # Volatile state
        self.wish: Wish | None = None  # what the training has asked for
        self.floor = 0
        self.bound: int | None = None  # the transaction that is about it
        self.done: Wish | None = None  # the last one of this life
        self.over = -1  # runs up to this one are over here
        self.decided: dict[int, bool] = {}  # decided, and the files are not there yet
        self.asked: set[int] = set()

    # -- what the own host says

    def on_want(self, host: int, m: Want) -> Effects:
        if host == self.me:
            self.wish, self.floor, self.bound = m.wish, m.floor, None
            yield from self.compare()
            if self.bound is None:
                yield from self.on_wish_due()

    def on_finished(self, host: int, m: Finished) -> Effects:
        if host != self.me:
            return
        if m.transaction in self.decided:
            commit = self.decided.pop(m.transaction)
            yield from self.end(m.transaction, commit)
            if commit:
                yield Broadcast(self.coordinators, Acknowledged(m.transaction))
        if m.transaction == self.bound:
            self.done, self.wish, self.bound = self.wish, None, None

    def on_ask(self, host: int, m: Ask) -> Effects:
        if host == self.me:
            self.asked.add(m.transaction)
            yield from self.on_answer_due(m.transaction)

    def on_over(self, host: int, m: Over) -> Effects:
        if host != self.me:
            return
        self.over = max(self.over, m.run)
        for transaction, (_, asked) in tuple(self.preparing.items()):
            if wish_of(asked.payload).run <= self.over:
                yield from self.vote(transaction, False)
        if self.wish is not None and self.bound is None and self.wish.run <= self.over:
            yield from self.on_outdated(self.me, Outdated(self.wish))

    # -- messages

    def on_prepare(self, coordinator: int, m: Prepare) -> Effects:
        yield from super().on_prepare(coordinator, m)
        yield from self.compare()

    def on_decision(self, sender: int, m: Decision) -> Effects:
        if m.transaction in self.asked and sender in self.coordinators:
            yield from self.answered(m.transaction, m.commit)
        if m.transaction not in self.prepared:
            yield from super().on_decision(sender, m)
        elif m.transaction not in self.decided:
            self.decided[m.transaction] = m.commit
            yield CancelTimer("decision_due", m.transaction)
            yield self.told(m.transaction, m.commit)

    def on_inquire(self, fellow: int, m: Inquire) -> Effects:
        if m.transaction not in self.decided:  # that one the coordinator knows for sure
            yield from super().on_inquire(fellow, m)

    def on_outdated(self, coordinator: int, m: Outdated) -> Effects:
        if self.wish == m.wish and self.bound is None:
            self.done, self.wish = self.wish, None
            yield CancelTimer("wish_due")
            yield Record("save", "is outdated")

    def on_undecided(self, coordinator: int, m: Undecided) -> Effects:
        if m.transaction in self.asked:
            yield from self.answered(m.transaction, None)

    # -- timers

    def on_wish_due(self) -> Effects:
        assert self.wish is not None, "it asks on behalf of its training"
        yield Broadcast(self.coordinators, Save(self.wish, self.floor))
        yield SetTimer("wish_due", self.patience)

    def on_answer_due(self, transaction: int) -> Effects:
        yield Broadcast(self.coordinators, Inquire(transaction))
        yield SetTimer("answer_due", self.patience, transaction)

    # -- a participant that needs time

    def prepare(self, m: Prepare) -> bool | None:
        """What comes too early is kept until the training is there."""
        wish = wish_of(m.payload)
        old = wish == self.done or wish.run <= self.over
        return False if old else None

    def compare(self) -> Effects:
        """Of what it is asked to prepare, the one that the training has asked for, and no other.
        What a rank asks for that is a step ahead has to wait."""
        for transaction, (_, m) in tuple(self.preparing.items()):
            if self.wish is None or transaction == self.bound:
                continue
            same = wish_of(m.payload) == self.wish
            if self.bound is not None and not same:
                continue
            if self.bound is None and same:
                self.bound = transaction
                yield CancelTimer("wish_due")
                yield Record("save", "prepares", transaction=transaction, step=self.wish.step)
            else:
                yield from self.vote(transaction, False)

    def vote(self, transaction: int, yes: bool) -> Effects:
        yield from super().vote(transaction, yes)
        if transaction in self.prepared:
            yield Record("save", "has voted yes", transaction=transaction)

    def refuse(self, transaction: int) -> Effects:
        mine = transaction == self.bound and transaction in self.preparing
        yield from super().refuse(transaction)
        if mine:
            yield self.told(transaction, False)

    # -- helpers

    def answered(self, transaction: int, commit: bool | None) -> Effects:
        self.asked.discard(transaction)
        yield CancelTimer("answer_due", transaction)
        yield Record("save", "is known", transaction=transaction, commit=commit)

    def told(self, transaction: int, commit: bool) -> Effect:
        name = "is committed" if commit else "is aborted"
        return Record("save", name, transaction=transaction, commit=commit)
