"""What coordinator and participants say to each other."""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Message

EPOCH = 1_000_000
"""Number 3000007 is the seventh transaction of epoch 3. No number is used twice, so that nothing
that was said in one attempt can be taken for a part of another."""

Ranks = tuple[int, ...]


class Begin(Message, frozen=True):
    """A client's wish: commit this at all these participants, or at none."""

    participants: Ranks
    payload: Any = None


class Prepare(Message, frozen=True):
    """Can you commit? Nobody is in doubt about a commit before `settled`: who remembers nothing of
    such a transaction may answer that it was aborted."""

    transaction: int
    payload: Any
    participants: Ranks
    settled: int = 0


class Voted(Message, frozen=True):
    """To the coordinator; or to a participant from its own process, when `prepare` took time."""

    transaction: int
    yes: bool


class Decision(Message, frozen=True):
    transaction: int
    commit: bool


class Acknowledged(Message, frozen=True):
    """The sender has made the commit durable, and will never ask about it."""

    transaction: int


class Inquire(Message, frozen=True):
    """What became of it? From a participant that is in doubt."""

    transaction: int
