"""What a group asks of whoever watches its members: a failure detector, and an observer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from labkit.view import View

if TYPE_CHECKING:
    from labkit.collectives.group import Group


class Farewell(NamedTuple):
    """The last group of a rank that has left it, and the number of the last of its `collectives`
    that it has completed: it has sent all that it owed up to there, and comes to no other. `lost`
    is the member whose loss made it leave, if one did; who `goes_on` has left for another group."""

    view: View
    collectives: int
    lost: int | None = None
    goes_on: bool = False


class Listener(Protocol):
    """Who is told of what happens to the members of a view, from any thread."""

    def on_death(self, rank: int) -> None:
        """This member is dead."""

    def on_farewell(self, rank: int, farewell: Farewell) -> None:
        """It lives, and comes to no collective of its last group behind those that it names."""

    def on_next_view(self) -> None:
        """There is a newer view."""


class FailureDetector(Protocol):
    """Whoever says that a rank is gone."""

    def subscribe(self, view: View, listener: Listener) -> Callable[[], None]:
        """Tells `listener` of the members of `view`, also of what happened before. The returned
        function ends that."""


class Observer(Protocol):
    """Whoever can ask the other members what they are doing."""

    def watch(self, group: Group) -> None:
        """This is the group of the function that runs here from now on."""

    def explain(self) -> str:
        """What keeps that group from going on, in words. Takes a second or two."""
