"""Heartbeats and the failure detectors that listen to them.

A detector cannot tell a dead node from a slow one; it can only choose how long it waits. A fixed
time-out chooses once. The φ-accrual detector (N. Hayashibara, X. Défago, R. Yared and T. Katayama,
SRDS 2004) watches how regularly beats come and says how surprising the silence is: φ = 3 means that
one such silence in a thousand is a mistake, if the intervals are normally distributed.

What goes wrong in practice, and is right here: only the monotonic clock of the context is read; an
observer that stood still itself convicts nobody; an outage does not enter the history, which would
make the detector numb; a late beat of an earlier life revives nobody; a node whose beats come while
its work stands still is reported as well (a *gray failure*: P. Huang et al., HotOS 2017).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from typing import Protocol as Shape

from labkit.protocols.effects import (
    Broadcast,
    Context,
    Effects,
    Message,
    Persist,
    Protocol,
    Record,
    SetTimer,
)


class Beat(Message, frozen=True):
    """`life` is the sender's incarnation; `progress` counts what its work has done."""

    life: int
    progress: int = 0


class Detector(Shape):
    """Watches one node. All times are seconds on the observer's monotonic clock."""

    def beat(self, now: float) -> None: ...
    def suspects(self, now: float) -> bool: ...
    def excuse(self, now: float) -> None:
        """The observer stood still until now: the silence was its own."""


class FixedTimeout:
    """Suspects after `timeout` seconds of silence."""

    def __init__(self, now: float, timeout: float = 0.2) -> None:
        self.last, self.timeout = now, timeout

    def beat(self, now: float) -> None:
        self.last = now

    def suspects(self, now: float) -> bool:
        return now - self.last > self.timeout

    def excuse(self, now: float) -> None:
        self.last = now


class PhiAccrual:
    """Suspects when φ exceeds `threshold`. Until there is a history it goes by `guess` seconds
    between beats; `floor` is the least standard deviation in seconds, without which a very regular
    node would be suspected for a hair's breadth; `window` intervals are remembered."""

    def __init__(
        self,
        now: float,
        threshold: float = 8.0,
        guess: float = 0.05,
        floor: float = 0.01,
        window: int = 200,
    ) -> None:
        self.last, self.threshold, self.floor = now, threshold, floor
        self.intervals: deque[float] = deque([0.75 * guess, 1.25 * guess], maxlen=window)
        self.sum = sum(self.intervals)
        self.squares = sum(x * x for x in self.intervals)

    def beat(self, now: float) -> None:
        if not self.suspects(now):  # an outage says nothing of how regular the beats are
            self._learn(now - self.last)
        self.last = now

    def excuse(self, now: float) -> None:
        self.last = now

    def suspects(self, now: float) -> bool:
        return self.phi(now) > self.threshold

    def phi(self, now: float) -> float:
        """-log10 of the probability that a beat comes later than this; finite for any silence."""
        n = len(self.intervals)
        mean = self.sum / n
        deviation = max(self.floor, math.sqrt(max(0.0, self.squares / n - mean * mean)))
        return -log10_of_tail((now - self.last - mean) / deviation)

    def _learn(self, interval: float) -> None:
        if len(self.intervals) == self.intervals.maxlen:
            old = self.intervals[0]
            self.sum -= old
            self.squares -= old * old
        self.intervals.append(interval)
        self.sum += interval
        self.squares += interval * interval


def log10_of_tail(z: float) -> float:
    """log10 of the probability that a standard normal variable exceeds z.

    Beyond 20 deviations that probability is no floating-point number any more, but its logarithm
    is (M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 1964, 26.2.12).
    """
    if z < 20:
        return math.log10(math.erfc(z / math.sqrt(2)) / 2)
    tail = math.log1p(-1 / (z * z)) - math.log(z * math.sqrt(2 * math.pi))
    return (tail - z * z / 2) / math.log(10)


class Heartbeat(Protocol):
    """Beats every `interval` seconds and watches its peers, each with a detector of its own.

    `progress()` counts the work that this node has done; a peer whose count stands still for
    `stuck` seconds while its beats come is reported. Says "suspect" and "trust" for the record.
    """

    def __init__(
        self,
        me: int,
        members: tuple[int, ...],
        context: Context,
        stored: Mapping[str, Any],
        *,
        interval: float = 0.05,
        detector: Callable[[float], Detector] = FixedTimeout,
        progress: Callable[[], int] = lambda: 0,
        stuck: float = math.inf,
    ) -> None:
        super().__init__(me, members, context, stored)
        self.interval, self.detector = interval, detector
        self.progress, self.stuck = progress, stuck
        self.life: int = stored.get("life", 0) + 1
        self.lives: dict[int, int] = {}  # the latest life of each peer that was heard of
        self.watched: dict[int, Detector] = {}
        self.advanced: dict[int, tuple[int, float]] = {}  # progress, and when it last changed
        self.suspected: set[int] = set()
        self.hanging: set[int] = set()
        self.tick_due = 0.0

    def on_start(self) -> Effects:
        yield Persist(life=self.life)
        now = self.context.now
        self.watched = {peer: self.detector(now) for peer in self.peers}
        yield from self.say()

    # -- messages

    def on_beat(self, peer: int, m: Beat) -> Effects:
        now = self.context.now
        if m.life < self.lives.get(peer, 0):
            return  # from an earlier life: it proves nothing
        if m.life > self.lives.get(peer, 0):
            self.lives[peer] = m.life
            self.watched[peer] = self.detector(now)  # another process: its habits are unknown
        else:
            self.watched[peer].beat(now)
        if self.advanced.get(peer, (-1, 0.0))[0] != m.progress:
            self.advanced[peer] = m.progress, now
        if peer in self.suspected:
            self.suspected.discard(peer)
            yield Record("trust", f"trusts rank {peer}", peer=peer)

    # -- timers

    def on_tick(self) -> Effects:
        now = self.context.now
        if now - self.tick_due > self.interval:
            self.excuse_all()
        for peer in self.peers:
            if peer not in self.suspected and self.watched[peer].suspects(now):
                self.suspected.add(peer)
                yield Record("suspect", f"suspects rank {peer}", peer=peer)
        yield from self.look_at_progress()
        yield from self.say()

    # -- helpers

    def say(self) -> Effects:
        yield Broadcast(self.peers, Beat(self.life, self.progress()))
        self.tick_due = self.context.now + self.interval
        yield SetTimer("tick", self.interval)

    def excuse_all(self) -> None:
        """This node stood still: beats may lie unread, and nobody's silence counts."""
        now = self.context.now
        for peer in self.peers:
            if peer not in self.suspected:
                self.watched[peer].excuse(now)
        self.advanced = {peer: (count, now) for peer, (count, _) in self.advanced.items()}

    def look_at_progress(self) -> Effects:
        for peer, (_, since) in self.advanced.items():
            hangs = self.context.now - since > self.stuck and peer not in self.suspected
            if hangs and peer not in self.hanging:
                self.hanging.add(peer)
                yield Record("suspect", f"rank {peer} beats and does not work", peer=peer)
            elif not hangs:
                self.hanging.discard(peer)
