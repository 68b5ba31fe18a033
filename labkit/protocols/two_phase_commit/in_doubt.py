"""What a participant does that has promised and hears nothing: it asks, and guesses nothing.

It asks the coordinator and the other participants (cooperative termination: Bernstein, Hadzilacos
and Goodman 1987, §7.4), says that it is in doubt, and goes on asking, however long it takes.
"""

from __future__ import annotations

from typing import Any, ClassVar

from labkit.protocols.effects import Broadcast, Effects, Protocol, Record, Send, SetTimer
from labkit.protocols.two_phase_commit.messages import Decision, Inquire, Prepare, Ranks


class InDoubt(Protocol):
    """`patience` in seconds: how long it waits for a decision before it asks for it, again and
    again. Of several `coordinators` any may know."""

    stored_types: ClassVar[dict[str, Any]] = {"prepared": tuple[Prepare, ...]}

    def __init__(
        self, *arguments: Any, coordinators: Ranks | None = None, patience: float = 0.5
    ) -> None:
        super().__init__(*arguments)
        self.coordinators = coordinators or self.members[:1]
        self.patience = patience
        # Persistent state: what it has voted yes on; how others ended, until everybody knows
        stored = arguments[3]
        self.prepared: dict[int, Prepare] = {m.transaction: m for m in stored.get("prepared", ())}
        self.ended: dict[int, bool] = dict(stored.get("ended", ()))

    @property
    def in_doubt(self) -> Ranks:
        """The transactions that it can neither commit nor abort by itself."""
        return tuple(self.prepared)

    def on_start(self) -> Effects:
        for transaction in self.in_doubt:
            yield from self.on_decision_due(transaction)

    def on_decision_due(self, transaction: int) -> Effects:
        """It has voted yes, so that it may not decide: it asks."""
        fellows = tuple(p for p in self.prepared[transaction].participants if p != self.me)
        yield Record("note", "is in doubt", transaction=transaction)
        yield Broadcast((*self.coordinators, *fellows), Inquire(transaction))
        yield SetTimer("decision_due", self.patience, transaction)

    def on_inquire(self, fellow: int, m: Inquire) -> Effects:
        """A fellow is in doubt. Who has not voted yes can still abort, and then never will."""
        if m.transaction in self.ended:
            yield Send(fellow, Decision(m.transaction, self.ended[m.transaction]))
        elif m.transaction not in self.prepared:
            yield from self.refuse(m.transaction)
            yield Send(fellow, Decision(m.transaction, False))

    def refuse(self, transaction: int) -> Effects:
        """From now on it votes no."""
        raise NotImplementedError
