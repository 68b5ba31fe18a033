"""Invariants: named values that are checked after every event of a simulation.

They are omniscient: they see all nodes, all disks and the wire. No code inside a node may.
"""

from __future__ import annotations

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
    `sent` to some classes of messages, and `hears` limits `received`; if it is empty, to the same.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    watches: ClassVar[tuple[type[Message], ...]] = ()
    hears: ClassVar[tuple[type[Message], ...]] = ()

    def started(self, sim: Simulation, i: int, node: Protocol) -> None:
        """A new life of node `i` is about to begin."""

    def after(self, sim: Simulation, i: int, node: Protocol) -> None:
        """Node `i` has handled an event, and all effects have happened."""

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
    *("started", "after", "sent", "received", "persisted", "applied", "recorded"),
    *("crashed", "finished"),
)


class Checks:
    """The methods that a set of invariants really defines, by hook."""

    def __init__(self, invariants: tuple[Invariant, ...]) -> None:
        self.invariants = invariants
        self.by_hook: dict[str, list[Any]] = {
            hook: [getattr(i, hook) for i in invariants if _defines(i, hook)] for hook in HOOKS
        }

    def watching(self, hook: str, message: type[Message]) -> list[Any]:
        """Those of `sent` or `received` that look at this class of messages."""
        found = []
        for i in self.invariants:
            limits = (i.hears or i.watches) if hook == "received" else i.watches
            if _defines(i, hook) and (not limits or issubclass(message, limits)):
                found.append(getattr(i, hook))
        return found


def _defines(invariant: Invariant, hook: str) -> bool:
    return getattr(type(invariant), hook) is not getattr(Invariant, hook)
