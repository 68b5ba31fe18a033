"""The faults in force: what they do to this process's speed, numbers and links."""

from __future__ import annotations

import random
import threading
from typing import TypeVar

import msgspec

from labkit import events
from labkit.faults.vocabulary import (
    Bandwidth,
    CorruptWeights,
    Cut,
    Delay,
    Drop,
    Fault,
    Heal,
    Partition,
    PoisonGradient,
    Slow,
)

RETRANSMIT = 0.2
"""Seconds until a reliable stream sends again what Drop lost (TCP's smallest time-out: RFC 6298 §2
asks for 1 s, Linux takes 200 ms)."""


class LinkState(msgspec.Struct):
    """What one direction between two ranks does to messages."""

    cut: bool = False
    delay: float = 0.0
    drop: float = 0.0
    rate: float = 0.0  # bytes a second; 0 is as many as there are


F = TypeVar("F", PoisonGradient, CorruptWeights)


class Conditions:
    """The faults in force as one process sees them: its own speed, and the links that leave it.

    Every process is told of every fault and keeps what concerns it. `changed` is notified on each
    change, so that a sender held by a cut link goes on the moment it heals.
    """

    def __init__(self, seed: int = 0) -> None:
        self.changed = threading.Condition()
        self.random = random.Random(seed)
        self._slow: dict[int, float] = {}
        self._links: dict[tuple[int, int], LinkState] = {}
        self._once: list[PoisonGradient | CorruptWeights] = []

    def apply(self, fault: Fault) -> None:
        with self.changed:
            match fault:
                case Slow(rank, factor):
                    self._slow[rank] = factor
                case Partition(groups):
                    for a in groups:
                        for b in groups:
                            if a is not b:
                                for pair in ((x, y) for x in a for y in b):
                                    self._link(*pair).cut = True
                case Cut(source, target):
                    self._link(source, target).cut = True
                case Delay(source, target, seconds):
                    self._link(source, target).delay = seconds
                case Drop(source, target, probability):
                    self._link(source, target).drop = probability
                case Bandwidth(source, target, rate):
                    self._link(source, target).rate = rate
                case PoisonGradient() | CorruptWeights():
                    self._once.append(fault)
                case Heal():
                    self._slow.clear()
                    self._links.clear()
            self.changed.notify_all()

    @property
    def waiting(self) -> bool:
        return bool(self._once)

    def slowness(self, rank: int) -> float:
        return self._slow.get(rank, 1.0)

    def take(self, kind: type[F], rank: int) -> F | None:
        """A fault of this kind that strikes `rank` once, and is then over."""
        with self.changed:
            for fault in self._once:
                if isinstance(fault, kind) and fault.rank == rank:
                    self._once.remove(fault)
                    return fault
        return None

    @property
    def links(self) -> dict[tuple[int, int], LinkState]:
        """Those that are not as they should be."""
        return dict(self._links)

    def link(self, source: int, target: int) -> LinkState:
        return self._links.get((source, target), _clear)

    def _link(self, source: int, target: int) -> LinkState:
        return self._links.setdefault((source, target), LinkState())


_clear = LinkState()
conditions = Conditions()
"""The conditions of this process."""


def struck(kind: type[F]) -> F | None:
    """A fault of this kind that strikes this process now; training asks before it goes on."""
    return conditions.take(kind, events.current().rank) if conditions.waiting else None
