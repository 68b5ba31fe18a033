"""What participants do when their leader is silent: one of them takes its place.

It asks all for their states (the termination protocol of Bernstein, Hadzilacos and Goodman 1987,
§7.5). Who comes back from a crash leads nothing, for the others may have decided: it only asks.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Broadcast, Effects, Record, Send, SetTimer
from labkit.protocols.three_phase_commit.messages import (
    ABORTED,
    COMMITTED,
    PRECOMMITTED,
    UNCERTAIN,
    UNDECIDED,
    State,
    StateRequest,
)
from labkit.protocols.three_phase_commit.phases import ThreePhases
from labkit.protocols.two_phase_commit import Decision, Inquire


class ThreePhaseCommit(ThreePhases):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        # Volatile state of who takes the leader's place: what the others know
        self.answers: dict[int, dict[int, str]] = {}

    def on_start(self) -> Effects:
        for transaction in sorted(self.recovering):
            yield from self.on_silence(transaction)

    # -- messages

    def on_state_request(self, leader: int, m: StateRequest) -> Effects:
        """Who has not voted yet never will, and counts as aborted."""
        if m.transaction not in self.recovering:
            state = self.states.get(m.transaction, ABORTED)
            yield from self.become(state, m.transaction)
            yield Send(leader, State(m.transaction, state))

    def on_state(self, fellow: int, m: State) -> None:
        if m.transaction in self.answers:
            self.answers[m.transaction][fellow] = m.state

    def on_inquire(self, fellow: int, m: Inquire) -> Effects:
        state = self.states.get(m.transaction, UNCERTAIN)
        if state not in UNDECIDED:
            yield Send(fellow, Decision(m.transaction, state == COMMITTED))

    # -- timers

    def on_silence(self, transaction: int) -> Effects:
        """The coordinator is dead, and so are those whose turn it was before: it leads."""
        if self.states[transaction] in UNDECIDED:
            fellows = tuple(p for p in self.ranks[transaction] if p != self.me)
            yield self.patience(transaction)
            if transaction in self.recovering:
                yield Record("note", "is in doubt", transaction=transaction)
                yield Broadcast(fellows, Inquire(transaction))
            else:
                self.answers[transaction] = {}
                yield Broadcast(fellows, StateRequest(transaction))
                yield SetTimer("states_due", 2 * self.delay, transaction)

    def on_states_due(self, transaction: int) -> Effects:
        """The termination protocol (§7.5), over all who have answered: by assumption, who live."""
        answers, mine = self.answers.pop(transaction), self.states[transaction]
        states = {*answers.values(), mine}
        if COMMITTED in states:
            yield from self.decide(transaction, True)
        elif ABORTED in states or states == {UNCERTAIN}:
            yield from self.decide(transaction, False)
        else:
            yield from self.become(PRECOMMITTED, transaction)
            uncertain = sorted(p for p, state in answers.items() if state == UNCERTAIN)
            yield from self.pre_commit(transaction, tuple(uncertain))
