"""Two replicas that could not hear each other have changed one set of names. Three ways out.

- *Last write wins*: the change with the later time replaces the other one (R. Thomas, ACM TODS
  4(2), 1979). Simple, and one of the two is lost without a word.
- *Vector clocks* tell "later" from "at the same time" (C. Fidge, 1988; F. Mattern, 1989). Of two
  changes at the same time both are kept, as siblings, and whoever writes next has to unite them
  (Dynamo, SOSP 2007, §4.4).
- *Merge*: a set made so that there is nothing to decide, here the observed-remove set (M. Shapiro
  et al., "Conflict-Free Replicated Data Types", SSS 2011): a removal takes away the additions that
  it had seen, and no others.

All three are values: `add` and `remove` give a new one, `merge` unites two copies. Whatever the
order in which copies meet, and however often, they end equal: `merge` is commutative, associative
and idempotent.
"""

from __future__ import annotations

from typing import Protocol, Self

from msgspec import Struct

Names = frozenset[str]
Clock = dict[int, int]
"""How many changes of each node are known."""


class Copy(Protocol):
    """A replica's copy of the set. Changes are made by a node, at a time of its clock."""

    def add(self, name: str, node: int, time: float) -> Self: ...
    def remove(self, name: str, node: int, time: float) -> Self: ...
    def merge(self, other: Self) -> Self: ...

    @property
    def names(self) -> Names: ...


# -- last write wins


class LastWrite(Struct, frozen=True):
    """`names` as they were written at `time`; the higher node breaks a tie."""

    names: Names = frozenset()
    time: float = 0.0
    node: int = -1

    def add(self, name: str, node: int, time: float) -> LastWrite:
        return LastWrite(self.names | {name}, time, node)

    def remove(self, name: str, node: int, time: float) -> LastWrite:
        return LastWrite(self.names - {name}, time, node)

    def merge(self, other: LastWrite) -> LastWrite:
        return max(self, other, key=lambda copy: (copy.time, copy.node))


# -- vector clocks


def known(a: Clock, b: Clock) -> bool:
    """Whether everything that `a` knows is known to `b`: a happened before b, or is b."""
    return all(count <= b.get(node, 0) for node, count in a.items())


def join(*clocks: Clock) -> Clock:
    nodes = sorted({node for clock in clocks for node in clock})
    return {node: max(clock.get(node, 0) for clock in clocks) for node in nodes}


class Sibling(Struct, frozen=True):
    clock: Clock
    names: Names


class Siblings(Struct, frozen=True):
    """One version, or several of which none happened before another."""

    versions: tuple[Sibling, ...] = ()

    @property
    def names(self) -> Names:
        """What the reader makes of siblings: all that stands in one of them, as in Dynamo's
        shopping cart. A name that was removed in only one of them comes back."""
        return frozenset().union(*(version.names for version in self.versions))

    def add(self, name: str, node: int, time: float) -> Siblings:
        return self.write(self.names | {name}, node)

    def remove(self, name: str, node: int, time: float) -> Siblings:
        return self.write(self.names - {name}, node)

    def write(self, names: Names, node: int) -> Siblings:
        """After all versions that were read: it takes the place of them all."""
        clock = join(*(version.clock for version in self.versions))
        return Siblings((Sibling(clock | {node: clock.get(node, 0) + 1}, names),))

    def merge(self, other: Siblings) -> Siblings:
        """Keeps what did not happen before something else."""
        every = [*self.versions, *(v for v in other.versions if v not in self.versions)]
        kept = [v for v in every if not any(v is not w and known(v.clock, w.clock) for w in every)]
        return Siblings(tuple(sorted(kept, key=lambda version: sorted(version.clock.items()))))


# -- merge


class Tag(Struct, frozen=True, order=True):
    """One addition: unlike any other, also of the same name."""

    name: str
    node: int
    number: int


class ObservedRemove(Struct, frozen=True):
    """Every addition ever, and every addition that was taken back. Both sets only grow."""

    added: frozenset[Tag] = frozenset()
    removed: frozenset[Tag] = frozenset()

    @property
    def names(self) -> Names:
        return frozenset(tag.name for tag in self.added - self.removed)

    def add(self, name: str, node: int, time: float) -> ObservedRemove:
        number = sum(tag.node == node for tag in self.added)
        return ObservedRemove(self.added | {Tag(name, node, number)}, self.removed)

    def remove(self, name: str, node: int, time: float) -> ObservedRemove:
        seen = {tag for tag in self.added if tag.name == name}
        return ObservedRemove(self.added, self.removed | seen)

    def merge(self, other: ObservedRemove) -> ObservedRemove:
        return ObservedRemove(self.added | other.added, self.removed | other.removed)


class Counter(Struct, frozen=True):
    """How many samples were seen, counted by several nodes (the G-counter of the same paper): each
    counts its own, and of two copies the larger count of each node is right."""

    counts: Clock = {}

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, amount: int, node: int) -> Counter:
        return Counter(self.counts | {node: self.counts.get(node, 0) + amount})

    def merge(self, other: Counter) -> Counter:
        return Counter(join(self.counts, other.counts))
