"""To say something again and again, until everybody has answered: messages get lost."""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Broadcast, CancelTimer, Effects, Message, Protocol, SetTimer
from labkit.protocols.two_phase_commit.messages import Ranks


class UntilAnswered(Protocol):
    """Says what it has to say of a transaction every `patience` seconds to all who are `silent`; of
    one thing at a time. A subclass makes the message, and takes from `silent` whoever answers."""

    def __init__(self, *arguments: Any, patience: float = 0.3, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.patience = patience
        # Volatile state: who has not answered, by transaction, and which of them have a deadline
        self.silent: dict[int, set[int]] = {}
        self.limited: set[int] = set()

    def message(self, transaction: int) -> Message:
        raise NotImplementedError

    def say(self, transaction: int, participants: Ranks, within: float | None = None) -> Effects:
        """`on_votes_due` is called when it is not over in so many seconds."""
        self.silent[transaction] = set(participants)
        yield from self.on_again(transaction)
        if within is not None:
            self.limited.add(transaction)
            yield SetTimer("votes_due", within, transaction)

    def on_again(self, transaction: int) -> Effects:
        silent = tuple(sorted(self.silent[transaction]))
        yield Broadcast(silent, self.message(transaction))
        yield SetTimer("again", self.patience, transaction)

    def stop(self, transaction: int) -> Effects:
        """Nothing more is said of it."""
        del self.silent[transaction]
        if transaction in self.limited:
            self.limited.remove(transaction)
            yield CancelTimer("votes_due", transaction)
        yield CancelTimer("again", transaction)
