"""Invariants: named values that are checked after every event of a simulation.

They are omniscient: they see all nodes, all disks and the wire. No code inside a node may.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

from labkit.protocols.effects import Apply, Message, Protocol, Record

if TYPE_CHECKING:
    from labkit.simulator.simulation import Simulation


class Violation(AssertionError):
    """An invariant does not hold. `what` is a sentence that names the nodes concerned."""

    def __init__(self, invariant: Invariant, what: str) -> None:
        super().__init__(invariant.name, what)
        self.name, self.title, self.what = invariant.name, invariant.title, what

    def __str__(self) -> str:
        return f"{self.name} ({self.title}) breaks: {self.what}"


class Invariant:
    """Base of all invariants. A simulation makes its own instance, so state may live in it.

    A subclass defines only the methods that it needs: the others cost nothing. `watches` limits
    `says` and `sent` to some classes of messages, and `hears` limits `received`; if it is empty, to
    the same. `looks_at` limits `after`: to events that may have changed one of these attributes of
    the node, or its disk.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    watches: ClassVar[tuple[type[Message], ...]] = ()
    hears: ClassVar[tuple[type[Message], ...]] = ()
    looks_at: ClassVar[tuple[str, ...]] = ()

    def started(self, sim: Simulation, i: int, node: Protocol) -> None:
        """A new life of node `i` is about to begin."""

    def after(self, sim: Simulation, i: int, node: Protocol) -> None:
        """Node `i` has handled an event, and all effects have happened."""

    def says(self, sim: Simulation, i: int, node: Protocol, message: Message) -> None:
        """Node `i` is about to send a message, to one node or to several: asked once."""

    def sent(self, sim: Simulation, i: int, to: int, message: Message) -> None:
        """A message is about to leave node `i`: what is on its disk now must cover it."""

    def received(self, sim: Simulation, i: int, sender: int, message: Message) -> None:
        """Node `i` is about to handle a message."""

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        """`values` have just become durable on node `i`."""

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        """A command takes effect on node `i`."""

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        """Node `i` says something for the record."""

    def crashed(self, sim: Simulation, i: int) -> None:
        """Node `i` has lost its volatile state."""

    def finished(self, sim: Simulation) -> None:
        """The run is over."""


HOOKS = (
    *("started", "after", "says", "sent", "received", "persisted", "applied", "recorded"),
    *("crashed", "finished"),
)


class Checks:
    """The methods that a set of invariants really defines, by hook."""

    def __init__(self, invariants: tuple[Invariant, ...]) -> None:
        self.invariants = invariants
        self.by_hook: dict[str, list[Any]] = {
            hook: [getattr(i, hook) for i in invariants if _defines(i, hook)] for hook in HOOKS
        }
        after = [i for i in invariants if _defines(i, "after")]
        self.after_all: list[Any] = [i.after for i in after if not i.looks_at]
        self.after_change: list[Any] = [i.after for i in after if i.looks_at]
        fields = sorted({field for i in after for field in i.looks_at})
        self.state: Callable[[Any], Any] = attrgetter(*fields) if fields else _nothing

    def watching(self, hook: str, message: type[Message]) -> list[Any]:
        """Those of `says`, `sent` or `received` that look at this class of messages."""
        found = []
        for i in self.invariants:
            limits = (i.hears or i.watches) if hook == "received" else i.watches
            if _defines(i, hook) and (not limits or issubclass(message, limits)):
                found.append(getattr(i, hook))
        return found


def _nothing(node: Any) -> None:
    pass


def _defines(invariant: Invariant, hook: str) -> bool:
    return getattr(type(invariant), hook) is not getattr(Invariant, hook)
