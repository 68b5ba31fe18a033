"""What is said in three-phase commit beside what two-phase commit says, and the states."""

from __future__ import annotations

from labkit.protocols.effects import Message

UNCERTAIN, PRECOMMITTED, COMMITTED, ABORTED = "uncertain", "precommitted", "committed", "aborted"
UNDECIDED = (UNCERTAIN, PRECOMMITTED)


class PreCommit(Message, frozen=True):
    """All have voted yes."""

    transaction: int


class PreCommitted(Message, frozen=True):
    transaction: int


class StateRequest(Message, frozen=True):
    """From a participant that takes the place of the coordinator."""

    transaction: int


class State(Message, frozen=True):
    transaction: int
    state: str
