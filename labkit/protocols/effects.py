"""What a protocol is, and what it may do: a state machine whose handlers yield *effects*, in order.

    def on_request_vote(self, candidate, m):
        yield from self.observe_term(m.term)
        grant = m.term == self.term and self.voted_for in (None, candidate)
        if grant:
            self.voted_for = candidate
            yield Persist(term=self.term, voted_for=candidate)  # durable before anyone hears of it
        yield Send(candidate, Vote(self.term, grant))

Effects happen in the order in which they are yielded, and **a crash may fall between any two of
them**. An effect has no result: an engine drains the handler into a list before it acts, so a crash
at *k* leaves the first *k* effects and no volatile state. Handlers of one node never interleave. A
failed fsync stops the node.

Two engines run these classes: the simulator (`labkit.simulator`) and a worker's host
(`labkit.runtime.host`). The form follows the TLA+ habit of one action for each function, and
D. Ongaro's RaftScope.
"""

from __future__ import annotations

import random
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar

from msgspec import Struct


class Message(Struct, frozen=True, tag=True):
    """Base of all messages: immutable plain data, since sender and receivers may share it."""


class Command:
    """Base of what may stand in a replicated log, as in

        class Put(Struct, Command, frozen=True, tag=True): ...

    A field that is annotated `Command` takes any of them, also from a wire or a disk.
    """

    __slots__ = ()
    known: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Command.known[cls.__name__] = cls


class Send(Struct, frozen=True):
    """`message` leaves for node `to`; it may arrive late, twice, out of order, or never."""

    to: int
    message: Message


class Broadcast(Struct, frozen=True):
    """A `Send` to each of `to`, in that order; a crash may fall between any two of them."""

    to: tuple[int, ...]
    message: Message


class Persist:
    """`values` are on the disk, all of them or none, before the next effect happens.

    A value replaces what was stored under its name; a `Splice` changes the end of a sequence.
    """

    __slots__ = ("values",)

    def __init__(self, **values: Any) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"Persist({', '.join(f'{k}={v!r}' for k, v in self.values.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Persist) and self.values == other.values


class SetTimer(Struct, frozen=True):
    """Calls `on_<timer>()` `after` seconds of this node's clock, or `on_<timer>(key)` with a key.

    A timer that is set again starts anew; the same name with another key is another timer. One that
    is `periodic` keeps time with those of the other nodes: on a real machine it comes at a multiple
    of `after`, up to half of that early or late.
    """

    timer: str
    after: float
    key: Hashable = None
    periodic: bool = False


class CancelTimer(Struct, frozen=True):
    timer: str
    key: Hashable = None


class Record:
    """An event for the record (`labkit.events`): `kind`, a name for the reader, and plain data."""

    __slots__ = ("data", "kind", "name")

    def __init__(self, kind: str, name: str = "", **data: Any) -> None:
        self.kind, self.name, self.data = kind, name, data

    def __repr__(self) -> str:
        rest = "".join(f", {k}={v!r}" for k, v in self.data.items())
        return f"Record({self.kind!r}, {self.name!r}{rest})"

    def __eq__(self, other: object) -> bool:
        mine = (self.kind, self.name, self.data)
        return isinstance(other, Record) and mine == (other.kind, other.name, other.data)


class Apply(Struct, frozen=True):
    """Command number `index` of the agreed sequence takes effect here; indices come in order."""

    index: int
    command: Any


Effect = Send | Broadcast | Persist | SetTimer | CancelTimer | Record | Apply
Effects = Iterator[Effect]


def one_by_one(effects: Iterable[Effect]) -> list[Effect]:
    """A `Broadcast` as the sends that it stands for: a crash may fall between them."""
    single: list[Effect] = []
    for effect in effects:
        if isinstance(effect, Broadcast):
            single += [Send(to, effect.message) for to in effect.to]
        else:
            single.append(effect)
    return single


class Context:
    """What an engine lends a node: its clock, in seconds (monotonic), and its random numbers."""

    __slots__ = ("now", "random")

    def __init__(self, now: float = 0.0, seed: int | str = 0) -> None:
        self.now = now
        self.random = random.Random(seed)


class Protocol:
    """One node. `stored` is what it has persisted in its earlier lives, empty in its first.

    `members` are the nodes that it is told of at the start, itself among them. Subclasses define
    `on_<message>(sender, message)` for each message class (`on_request_vote` for `RequestVote`) and
    `on_<timer>()` for each timer: generators of effects, or plain functions that return nothing.

    `stored_types` says of what type a persisted value is, and of a sequence, its items: what is
    not named there comes back from a disk as plain data.
    """

    stored_types: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self, me: int, members: tuple[int, ...], context: Context, stored: Mapping[str, Any]
    ) -> None:
        self.me = me
        self.members = members
        self.peers = tuple(m for m in members if m != me)
        self.context = context

    @classmethod
    def found(cls, me: int, members: tuple[int, ...]) -> dict[str, Any]:
        """What is written on the disks of the members when the cluster is founded.

        A node that later finds nothing on its disk has lost it, and can tell by this.
        """
        return {}

    @property
    def leads(self) -> bool:
        """Whether this node believes that it leads: for faults that aim at the leader."""
        return False

    def on_start(self) -> Effects | None:
        """The first handler of every life."""
        return None


# -- what an engine calls


def found(protocol: Any, me: int, members: tuple[int, ...]) -> dict[str, Any]:
    """The first contents of a disk, for a `Protocol` class, a `functools.partial` of one, or a
    function that makes one (empty)."""
    made_by = getattr(protocol, "func", protocol)
    return made_by.found(me, members) if hasattr(made_by, "found") else {}


def stored_types(protocol: Any) -> Mapping[str, Any]:
    """Of a `Protocol` class or a `functools.partial` of one."""
    return getattr(protocol, "func", protocol).stored_types  # type: ignore[no-any-return]


def start(node: Protocol) -> list[Effect]:
    return _drain(node.on_start())


def deliver(node: Protocol, sender: int, message: Message) -> list[Effect]:
    """The effects of a message; a node without a handler for it is an error."""
    return _drain(getattr(node, handler(type(message)))(sender, message))


def fire(node: Protocol, timer: str, key: Hashable = None) -> list[Effect]:
    """The effects of a timer that has run out."""
    act = getattr(node, "on_" + timer)
    return _drain(act() if key is None else act(key))


def _drain(effects: Iterable[Effect] | None) -> list[Effect]:
    return [] if effects is None else list(effects)


@cache
def handler(message: type) -> str:
    """The name of the handler of a class of messages: `on_request_vote` for `RequestVote`."""
    return "on_" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", message.__name__).lower()


# -- what is durable


class Splice(Struct, frozen=True):
    """In a `Persist`: a sequence that keeps what is before index `start` and then goes on with
    `items`."""

    start: int
    items: tuple[Any, ...]


class Stored(Struct):
    """A sequence on the disk. Its first item has index `first`: what was before has been dropped.

    A `Persist` of a `Stored` replaces the sequence, a `Persist` of a `Splice` changes its end. A
    sequence that was never persisted begins at index 1.
    """

    first: int = 1
    items: list[Any] = []

    def splice(self, change: Splice) -> None:
        if not self.first <= change.start <= self.first + len(self.items):
            raise ValueError(
                f"a splice at {change.start} leaves a gap: the stored sequence has "
                f"{self.first} to {self.first + len(self.items) - 1}"
            )
        self.items[change.start - self.first :] = change.items


def store(stored: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Changes what is `stored` as a `Persist` of `values` does."""
    for name, value in values.items():
        if type(value) is Splice:
            stored.setdefault(name, Stored()).splice(value)
        elif type(value) is Stored:
            stored[name] = Stored(value.first, list(value.items))
        else:
            stored[name] = value
