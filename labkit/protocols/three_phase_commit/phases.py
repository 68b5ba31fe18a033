"""The three phases while their leader lives: it asks, says that all have said yes, and decides."""

from __future__ import annotations

from typing import Any

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
from labkit.protocols.three_phase_commit.messages import (
    ABORTED,
    COMMITTED,
    PRECOMMITTED,
    UNCERTAIN,
    UNDECIDED,
    PreCommit,
    PreCommitted,
)
from labkit.protocols.two_phase_commit import Begin, Decision, Prepare, Voted
from labkit.protocols.two_phase_commit.messages import Ranks


class ThreePhases(Protocol):
    """The first member coordinates, the others participate. `delay` in seconds: no message takes
    longer, and neither does what is done about it."""

    def __init__(self, *arguments: Any, delay: float = 0.02) -> None:
        super().__init__(*arguments)
        self.delay = delay
        # Persistent state: as a participant, what it knows of each transaction, and who is in it
        stored = arguments[3]
        self.number: int = stored.get("number", 0)  # of its last transaction as a coordinator
        self.states: dict[int, str] = dict(stored.get("states", ()))
        self.ranks: dict[int, Ranks] = dict(stored.get("ranks", ()))
        # Volatile state of who leads: who has not voted, is not precommitted
        self.voting: dict[int, set[int]] = {}
        self.uncertain: dict[int, set[int]] = {}
        # The others may have decided while it was dead: it takes no part in that, and only asks
        self.recovering = {t for t, state in self.states.items() if state in UNDECIDED}

    @property
    def leads(self) -> bool:
        return self.me == self.members[0]

    def prepare(self, m: Prepare) -> bool:
        return True

    # -- messages: to the coordinator

    def on_begin(self, client: int, m: Begin) -> Effects:
        self.number += 1
        yield Persist(number=self.number)  # which is never used again
        self.ranks[self.number] = m.participants
        self.voting[self.number] = set(m.participants)
        yield Broadcast(m.participants, Prepare(self.number, m.payload, m.participants))
        yield SetTimer("votes_due", 2 * self.delay, self.number)

    def on_voted(self, participant: int, m: Voted) -> Effects:
        if m.transaction in self.voting:
            self.voting[m.transaction].discard(participant)
            if not m.yes:
                yield from self.on_votes_due(m.transaction)
            elif not self.voting[m.transaction]:
                del self.voting[m.transaction]
                yield from self.pre_commit(m.transaction, self.ranks[m.transaction])

    def on_pre_committed(self, participant: int, m: PreCommitted) -> Effects:
        if m.transaction in self.uncertain:
            self.uncertain[m.transaction].discard(participant)
            if not self.uncertain[m.transaction]:
                yield from self.on_precommits_due(m.transaction)

    # -- messages: to participants

    def on_prepare(self, coordinator: int, m: Prepare) -> Effects:
        if m.transaction not in self.states:
            self.ranks[m.transaction] = m.participants
            yes = self.prepare(m)
            yield from self.become(UNCERTAIN if yes else ABORTED, m.transaction)
            yield Send(coordinator, Voted(m.transaction, yes))

    def on_pre_commit(self, leader: int, m: PreCommit) -> Effects:
        if self.states.get(m.transaction) in UNDECIDED and m.transaction not in self.recovering:
            yield from self.become(PRECOMMITTED, m.transaction)
            yield Send(leader, PreCommitted(m.transaction))

    def on_decision(self, sender: int, m: Decision) -> Effects:
        if self.states.get(m.transaction, UNCERTAIN) in UNDECIDED:
            yield from self.end(m.transaction, m.commit)

    # -- timers

    def on_votes_due(self, transaction: int) -> Effects:
        if self.voting.pop(transaction, None) is not None:
            yield from self.decide(transaction, False)

    def on_precommits_due(self, transaction: int) -> Effects:
        """Who has not answered is dead, by assumption: nobody who lives is uncertain any more."""
        if self.uncertain.pop(transaction, None) is not None:
            yield from self.decide(transaction, True)

    # -- transitions

    def become(self, state: str, transaction: int) -> Effects:
        if self.states.get(transaction) != state:
            self.states[transaction] = state
            states, ranks = tuple(self.states.items()), tuple(self.ranks.items())
            yield Persist(states=states, ranks=ranks)
        if state in UNDECIDED:
            yield self.patience(transaction)

    def end(self, transaction: int, commit: bool) -> Effects:
        self.recovering.discard(transaction)
        yield Apply(transaction, commit)
        yield from self.become(COMMITTED if commit else ABORTED, transaction)
        yield CancelTimer("silence", transaction)

    # -- helpers

    def pre_commit(self, transaction: int, uncertain: Ranks) -> Effects:
        self.uncertain[transaction] = set(uncertain)
        yield Broadcast(uncertain, PreCommit(transaction))
        yield SetTimer("precommits_due", 2 * self.delay, transaction)

    def decide(self, transaction: int, commit: bool) -> Effects:
        state = self.states.get(transaction)
        if state in UNDECIDED:
            yield from self.end(transaction, commit)
        elif state is not None:
            commit = state == COMMITTED  # it has been told in the meantime
        yield Record(
            "note", f"decides to {'commit' if commit else 'abort'}", transaction=transaction
        )
        yield Broadcast(self.ranks[transaction], Decision(transaction, commit))

    def patience(self, transaction: int) -> SetTimer:
        """Long enough for whoever comes before it to end it all: two rounds, and the news."""
        turn = 1 + self.ranks[transaction].index(self.me)
        return SetTimer("silence", 5 * self.delay * turn, transaction)
