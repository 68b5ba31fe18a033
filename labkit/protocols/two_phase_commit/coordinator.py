"""The coordinator of two-phase commit, with presumed abort (Mohan, Lindsay and Obermarck 1986).

When all have voted yes it writes *commit* down, with the names of those who must hear of it; that
write is the moment of the decision. It tells them until all have acknowledged, and then forgets.
An abort is not written down: where it finds nothing, it answers *abort*.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Broadcast, Effects, Message, Persist, Record, Send
from labkit.protocols.two_phase_commit.messages import (
    EPOCH,
    Acknowledged,
    Begin,
    Decision,
    Inquire,
    Prepare,
    Ranks,
    Voted,
)
from labkit.protocols.two_phase_commit.until_answered import UntilAnswered


class Coordinator(UntilAnswered):
    """A vote that is not there after `deadline` seconds is a no."""

    def __init__(self, *arguments: Any, deadline: float = 1.0, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.deadline = deadline
        # Persistent state: its epoch, and the commits that not everybody has acknowledged
        stored = arguments[3]
        self.epoch: int = stored.get("epoch", 0)
        self.committed: dict[int, Ranks] = dict(stored.get("committed", ()))
        # Volatile state: what it asks about
        self.number = 0  # of the last transaction
        self.asking: dict[int, Prepare] = {}

    @property
    def leads(self) -> bool:
        return True

    def on_start(self) -> Effects:
        """What it was asking about when it crashed is forgotten, and so aborted."""
        self.epoch += 1
        yield Persist(epoch=self.epoch)  # so that no number of an earlier life is used again
        self.number = self.epoch * EPOCH
        for transaction, participants in tuple(self.committed.items()):
            yield from self.say(transaction, participants)

    # -- messages

    def on_begin(self, client: int, m: Begin) -> Effects:
        self.number += 1
        settled = min([self.number, *self.asking, *self.committed])
        self.asking[self.number] = Prepare(self.number, m.payload, m.participants, settled)
        yield from self.say(self.number, m.participants, within=self.deadline)

    def on_voted(self, participant: int, m: Voted) -> Effects:
        if m.transaction not in self.asking or participant not in self.silent[m.transaction]:
            return  # it is decided, or of an earlier epoch; or the vote has come before
        self.silent[m.transaction].discard(participant)
        if not m.yes:
            yield from self.abort(m.transaction)
        elif not self.silent[m.transaction]:
            yield from self.commit(m.transaction)

    def on_inquire(self, participant: int, m: Inquire) -> Effects:
        """Presumed abort: what is neither under way nor written down was not committed."""
        if m.transaction not in self.asking:
            yield Send(participant, Decision(m.transaction, m.transaction in self.committed))

    def on_acknowledged(self, participant: int, m: Acknowledged) -> Effects:
        if participant in self.silent.get(m.transaction, ()):
            self.silent[m.transaction].discard(participant)
            if not self.silent[m.transaction]:
                yield from self.stop(m.transaction)
                yield from self.forget(m.transaction)

    def on_votes_due(self, transaction: int) -> Effects:
        yield from self.abort(transaction)

    # -- the decision

    def commit(self, transaction: int) -> Effects:
        self.committed[transaction] = self.asking[transaction].participants
        yield Persist(committed=tuple(self.committed.items()))  # now it is decided
        yield from self.decided(transaction)

    def decided(self, transaction: int) -> Effects:
        yield Record("note", "decides to commit", transaction=transaction)
        yield from self.stop(transaction)
        yield from self.say(transaction, self.committed[transaction])

    def abort(self, transaction: int) -> Effects:
        """Written nowhere, told once: who does not hear of it will ask."""
        yield Record("note", "decides to abort", transaction=transaction)
        yield Broadcast(self.asking[transaction].participants, Decision(transaction, False))
        yield from self.stop(transaction)

    def forget(self, transaction: int) -> Effects:
        del self.committed[transaction]  # all have it on their disks: nobody will ask
        yield Persist(committed=tuple(self.committed.items()))

    # -- what it says until all have answered

    def message(self, transaction: int) -> Message:
        """In phase one it asks, in phase two it tells."""
        return self.asking.get(transaction) or Decision(transaction, True)

    def stop(self, transaction: int) -> Effects:
        self.asking.pop(transaction, None)
        yield from super().stop(transaction)
