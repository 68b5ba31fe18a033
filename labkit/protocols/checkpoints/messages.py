"""What is said about checkpoints, besides the words of two-phase commit."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from labkit.protocols.effects import Command, Message
from labkit.view import Member

SAVERS = 1000
"""The saver of rank r is node 1000 + r: it lives in the process of that rank."""


class Wish(Struct, frozen=True, array_like=True):
    """Of all these members, in this run: the state after this step is to be a checkpoint."""

    run: int
    step: int
    members: tuple[Member, ...]

    @property
    def savers(self) -> tuple[int, ...]:
        return tuple(SAVERS + member.rank for member in self.members)


def wish_of(payload: Any) -> Wish:
    """The payload of a `Prepare`, which comes from a wire or a disk as plain data."""
    return payload if isinstance(payload, Wish) else msgspec.convert(payload, Wish)


class Save(Message, frozen=True):
    """Of a saver, to whoever leads. The number of the attempt must be `floor` or more, since the
    folder has files with lower ones."""

    wish: Wish
    floor: int


class Outdated(Message, frozen=True):
    """The answer, when a member of the wish is not in the view any more."""

    wish: Wish


class Undecided(Message, frozen=True):
    """The answer to `Inquire` while votes are still out."""

    transaction: int


class Lift(Struct, Command, frozen=True, tag=True):
    """Numbers begin behind this one: an earlier cluster has used those before it."""

    floor: int


# -- of the own host, to its saver


class Want(Message, frozen=True):
    """The training has reached the step."""

    wish: Wish
    floor: int


class Finished(Message, frozen=True):
    """The files of this attempt are as it was decided, or as this rank has refused."""

    transaction: int


class Ask(Message, frozen=True):
    """What became of it? The files of an earlier life lie there."""

    transaction: int


class Over(Message, frozen=True):
    """This run ends on this rank: it takes part in nothing more of it."""

    run: int
