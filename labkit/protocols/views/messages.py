"""What stands in the log of the views, and what is said about them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from labkit.protocols.effects import Command, Message
from labkit.view import Member


class NextView(Struct, Command, frozen=True, tag=True):
    """A command of the log, which takes effect if `number` is the next one."""

    number: int = 0
    members: tuple[Member, ...] = ()

    def __str__(self) -> str:
        return f"view {self.number} {{{','.join(str(m.rank) for m in self.members)}}}"


class Connected(Message, frozen=True):
    """Of the own host: which life this is, to which lives of others connections are open, and
    whether it is ready to be in a view."""

    me: Member
    peers: tuple[Member, ...]
    ready: bool = True


class Expect(Message, frozen=True):
    """Of the own host: the launcher has these on the way, or knows that they are here."""

    members: tuple[Member, ...]


class Report(Message, frozen=True):
    """To the leader, what the host of a node sees; `view` is the one that it has installed,
    `broken` the one in which it has lost a connection to a member, and `count` numbers the reports
    of one life."""

    me: Member
    count: int
    peers: tuple[Member, ...]
    view: int
    identity: int  # of its disk
    ready: bool = True
    broken: int = 0


class Announce(Message, frozen=True):
    """Of the leader: the last view that is committed, and the number of the receiver's last report
    that has arrived."""

    term: int
    view: NextView
    heard: int


class CurrentView:
    """The state machine of the log."""

    def __init__(self) -> None:
        self.view = NextView()

    def apply(self, command: NextView) -> bool:
        if command.number == self.view.number + 1:  # compare and set
            self.view = command
        return self.view is command

    def snapshot(self) -> Any:
        return self.view.number, self.view.members

    def restore(self, state: Any) -> None:
        number, members = state
        self.view = NextView(number, tuple(Member(*member) for member in members))
