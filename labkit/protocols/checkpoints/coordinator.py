"""The leader of the views coordinates the checkpoints of the ranks that are in the view.

A transaction is one attempt at a checkpoint, and its number is the one that the files of the
attempt bear. It needs the yes of every member that wished for it. When one of them leaves the view
and has not voted, it is aborted: nobody waits for the dead. Who has voted yes before it died has
left its shard behind, durable and with all that a commit needs, and holds up nobody.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.checkpoints.messages import Lift, Outdated, Save, Undecided, Wish, wish_of
from labkit.protocols.effects import Effects, Record, Send
from labkit.protocols.raft.messages import Entry
from labkit.protocols.two_phase_commit.messages import EPOCH, Begin, Inquire
from labkit.protocols.two_phase_commit.replicated import ReplicatedCoordinator
from labkit.protocols.views import NextView, Views

PATIENCE_SECONDS = 300.0
"""For the votes: a rank that lives and beats may still be writing; one that never comes to the step
must not keep the others for ever."""


class ViewsAndCheckpoints(ReplicatedCoordinator, Views):
    def __init__(
        self, *arguments: Any, deadline: float = PATIENCE_SECONDS, **settings: Any
    ) -> None:
        self.base = 0  # replicated: all numbers are above it
        self.lifting = 0  # on leaders: the highest `Lift` that is in the log
        super().__init__(*arguments, deadline=deadline, **settings)

    # -- messages

    def on_save(self, saver: int, m: Save) -> Effects:
        """All members wish for the same, and one transaction is what they get."""
        if not self.coordinates:
            return  # who wishes asks again
        open_one = next((p for p in self.asking.values() if wish_of(p.payload) == m.wish), None)
        if open_one is not None:
            yield Send(saver, open_one)
        elif self.lost(m.wish):
            yield Send(saver, Outdated(m.wish))
        elif m.floor > self.number + 1:
            yield from self.lift(m.floor)
        else:
            yield Record("note", "asks for votes", step=m.wish.step)
            yield from self.on_begin(saver, Begin(m.wish.savers, m.wish))

    def on_inquire(self, participant: int, m: Inquire) -> Effects:
        if self.coordinates and m.transaction in self.asking:
            yield Send(participant, Undecided(m.transaction))
        else:
            yield from super().on_inquire(participant, m)

    # -- the decision

    def commit(self, transaction: int) -> Effects:
        yield Record("note", "proposes to commit", transaction=transaction)
        yield from super().commit(transaction)

    def apply(self, index: int, entry: Entry) -> Effects:
        if isinstance(entry.command, Lift):
            self.base = max(self.base, entry.command.floor)
            if self.coordinates:
                self.number = max(self.number, self.first_number())
            return
        yield from super().apply(index, entry)
        if isinstance(entry.command, NextView) and self.coordinates:
            yield from self.give_up_the_dead()

    def give_up_the_dead(self) -> Effects:
        for transaction, m in tuple(self.asking.items()):
            if self.silent[transaction] & self.lost(wish_of(m.payload)):
                yield from self.abort(transaction)

    def lost(self, wish: Wish) -> set[int]:
        """The savers of members that are not in the view. A life that is over does not return."""
        view = self.machine.view.members
        both = zip(wish.savers, wish.members, strict=True)
        return {saver for saver, member in both if member not in view}

    # -- numbers

    def take_over(self) -> Effects:
        self.lifting = self.base
        yield from super().take_over()
        self.number = self.first_number()

    def first_number(self) -> int:
        """Above all that any leader before has given away, of an attempt without files too: should
        a rank that stood still go on with that, its files have names that nobody else uses."""
        return self.base + self.term * EPOCH

    def lift(self, floor: int) -> Effects:
        if floor > self.lifting:
            self.lifting = floor
            yield from self.propose(Lift(floor))

    # -- snapshots

    def state(self) -> Any:
        return super().state() | {"base": self.base}

    def restore(self, state: Any) -> None:
        self.base = state["base"]
        super().restore(state)
