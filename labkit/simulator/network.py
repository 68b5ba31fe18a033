"""A network that loses, duplicates, delays and reorders; everything drawn from the seed."""

from __future__ import annotations

import random

from msgspec import Struct

from labkit import faults


class Network(Struct, frozen=True):
    """What every link does to messages when no fault is in force. Times in seconds.

    A message takes `low` to `high`, drawn evenly: later ones overtake. With probability `tail` an
    exponential delay of mean `tail_seconds` comes on top: longer than any time-out now and then.
    """

    low: float = 0.001
    high: float = 0.005
    loss: float = 0.0
    duplicate: float = 0.0
    tail: float = 0.0
    tail_seconds: float = 0.5


class Link(Struct):
    """The faults in force on one direction between two nodes."""

    cut: bool = False
    delay: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0


class Links:
    """The network with its faults. `arrivals` says when copies of a message arrive, if at all."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.faulty: dict[tuple[int, int], Link] = {}
        self.slow: dict[int, float] = {}
        self.calm = True
        """True while a message can only be delayed: most of the time, and the fast case."""
        self._judge()

    def inject(self, fault: faults.Fault) -> None:
        match fault:
            case faults.Partition(groups):
                for a in groups:
                    for b in groups:
                        if a is not b:
                            for source, target in ((x, y) for x in a for y in b):
                                self._link(source, target).cut = True
            case faults.Cut(source, target):
                self._link(source, target).cut = True
            case faults.Delay(source, target, seconds):
                self._link(source, target).delay = seconds
            case faults.Drop(source, target, probability):
                self._link(source, target).drop = probability
            case faults.Duplicate(source, target, probability):
                self._link(source, target).duplicate = probability
            case faults.Slow(rank, factor):
                self.slow[rank] = factor
            case faults.Heal():
                self.faulty.clear()
                self.slow.clear()
        self._judge()

    def settle(self) -> None:
        """From now on the network is perfect: no loss, no duplicate, no long delay."""
        self.network = Network(self.network.low, self.network.high)
        self.inject(faults.Heal())

    def arrivals(self, source: int, target: int, draw: random.Random) -> list[float]:
        """Seconds until each copy arrives: none for a message that is lost. What a node says to
        itself goes over no network."""
        if source == target:
            return [0.0]
        link = self.faulty.get((source, target), _clear)
        network = self.network
        if link.cut or draw.random() < network.loss or draw.random() < link.drop:
            return []
        twice = draw.random() < max(network.duplicate, link.duplicate)
        return [self._delay(source, target, link, draw) for _ in range(1 + twice)]

    def _delay(self, source: int, target: int, link: Link, draw: random.Random) -> float:
        network = self.network
        seconds = network.low + (network.high - network.low) * draw.random()
        if draw.random() < network.tail:
            seconds += draw.expovariate(1 / network.tail_seconds)
        slowness = self.slow.get(source, 1.0) * self.slow.get(target, 1.0)
        return seconds * slowness + link.delay

    def _link(self, source: int, target: int) -> Link:
        return self.faulty.setdefault((source, target), Link())

    def _judge(self) -> None:
        network = self.network
        self.low, self.spread = network.low, network.high - network.low
        self.calm = not (
            self.faulty or self.slow or network.loss or network.duplicate or network.tail
        )


_clear = Link()
