"""Heartbeats and the failure detectors that listen to them.

A detector cannot tell a dead node from a slow one; it can only choose how long it waits. A fixed
time-out chooses once. The φ-accrual detector (N. Hayashibara, X. Défago, R. Yared and T. Katayama,
SRDS 2004) watches how regularly beats come and says how surprising the silence is: φ = 3 means that
one such silence in a thousand is a mistake, if the intervals are normally distributed.

What goes wrong in practice, and is right here: only the monotonic clock of the context is read; a
silence for which the observer stood still itself does not count; an outage does not enter the
history, which would make the detector numb; a late beat revives nobody; a node whose beats come
while its work stands still is suspected as well (a *gray failure*: P. Huang et al., HotOS 2017).
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

# -- detectors: each watches one node; all times are seconds on the observer's monotonic clock


class Detector(Shape):
    def beat(self, now: float, delayed: bool = False) -> None:
        """A beat is read. One that is `delayed` lay here unread: it says nothing of intervals."""

    def suspects(self, now: float) -> bool: ...

    def excuse(self, now: float, stalled: float) -> None:
        """The observer stood still for `stalled` seconds: that much of the silence is its own."""


class FixedTimeout:
    """Suspects after `timeout` seconds of silence."""

    def __init__(self, now: float, timeout: float = 0.2) -> None:
        self.last, self.timeout = now, timeout

    def beat(self, now: float, delayed: bool = False) -> None:
        self.last = now

    def suspects(self, now: float) -> bool:
        return now - self.last > self.timeout

    def excuse(self, now: float, stalled: float) -> None:
        self.last = min(now, self.last + stalled)


class PhiAccrual:
    """Suspects when φ exceeds `threshold`. It begins with a `guess` of the seconds between beats;
    `floor` is the least standard deviation in seconds, without which a very regular node would be
    suspected for a hair's breadth; `window` intervals are remembered."""

    def __init__(
        self,
        now: float,
        threshold: float = 8.0,
        guess: float = 0.05,
        floor: float = 0.01,
        window: int = 200,
    ) -> None:
        self.last, self.threshold, self.floor = now, threshold, floor
        self.intervals: deque[float] = deque(maxlen=window)
        self.sum = self.squares = 0.0
        for interval in (0.75 * guess, 1.25 * guess):
            self.learn(interval)

    def beat(self, now: float, delayed: bool = False) -> None:
        if not delayed and not self.suspects(now):  # an outage says nothing of regular beats
            self.learn(now - self.last)
        self.last = now

    def suspects(self, now: float) -> bool:
        return self.phi(now) > self.threshold

    def excuse(self, now: float, stalled: float) -> None:
        self.last = min(now, self.last + stalled)

    def phi(self, now: float) -> float:
        """-log10 of the probability that a beat comes later than this; finite for any silence."""
        n = len(self.intervals)
        mean = self.sum / n
        deviation = max(self.floor, math.sqrt(max(0.0, self.squares / n - mean * mean)))
        return -log10_of_tail((now - self.last - mean) / deviation)

    def learn(self, interval: float) -> None:
        if len(self.intervals) == self.intervals.maxlen:
            oldest = self.intervals[0]
            self.sum -= oldest
            self.squares -= oldest * oldest
        self.intervals.append(interval)
        self.sum += interval
        self.squares += interval * interval


def log10_of_tail(z: float) -> float:
    """log10 of the probability that a standard normal variable exceeds z.

    Beyond 38 deviations that probability is no floating-point number any more, but its logarithm
    is (M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 1964, 26.2.12).
    """
    if z < 20:
        return math.log10(math.erfc(z / math.sqrt(2)) / 2)
    tail = math.log1p(-1 / (z * z)) - math.log(z * math.sqrt(2 * math.pi))
    return (tail - z * z / 2) / math.log(10)


# -- the protocol: messages


class Beat(Message, frozen=True):
    """`life` is the sender's incarnation, `serial` counts its beats, and `progress` its work."""

    life: int
    serial: int
    progress: int = 0


class Heartbeat(Protocol):
    """Beats every `interval` seconds and watches its peers, each with a detector of its own.

    A peer whose beats come while its progress stands still for `stuck` seconds, behind that of
    somebody else, is suspected too.
    One that was suspected is trusted when it has been well for `steady` seconds on end: without
    that, a node that comes and goes all the time is a new membership every time.
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
        stuck: float = math.inf,
        steady: float = 0.0,
    ) -> None:
        super().__init__(me, members, context, stored)
        self.interval, self.detector = interval, detector
        self.stuck, self.steady = stuck, steady
        now = context.now
        # Of itself
        self.life: int = stored.get("life", 0) + 1
        self.serial = self.progress = 0
        self.tick_due = now
        self.waking = False  # it stood still; what it reads now may have waited
        # Of its peers
        self.heard = dict.fromkeys(self.peers, (0, 0))  # life and serial of the newest beat
        self.watched = {peer: detector(now) for peer in self.peers}
        self.advanced = dict.fromkeys(self.peers, (0, now))  # progress, and when it came about
        self.suspected: set[int] = set()
        self.ill = dict.fromkeys(self.peers, now)  # when a suspected one was last not well

    def on_start(self) -> Effects:
        yield Persist(life=self.life)  # before the first beat: no two lives have one number
        yield from self.say()

    # -- messages

    def on_beat(self, peer: int, m: Beat) -> Effects:
        now, (life, serial) = self.context.now, self.heard[peer]
        if (m.life, m.serial) <= (life, serial):
            return  # a second copy, overtaken, or of an earlier life: it proves nothing of now
        self.heard[peer] = m.life, m.serial
        if m.life > life:
            self.watched[peer] = self.detector(now)  # another process: its habits are unknown
        else:
            self.watched[peer].beat(now, delayed=self.waking or self.stood_still() > 0)
        if m.life > life or m.progress != self.advanced[peer][0]:
            self.advanced[peer] = m.progress, now
        yield from self.reconsider(peer)

    # -- from the host

    def on_trust(self, peer: int) -> Effects:
        """A connection to it is open: a sign of life, and the beginning of the next silence. Else
        one that died as a suspect and stands still in its next life would not be noticed."""
        if peer in self.watched:  # no member is the witness
            self.watched[peer].beat(self.context.now, delayed=True)
            yield from self.reconsider(peer)

    def on_worked(self, count: int) -> None:
        """The work beside this node has come so far; 0 when there is none."""
        self.progress = count

    # -- timers

    def on_tick(self) -> Effects:
        stalled = self.stood_still()
        self.waking = stalled > 0
        if self.waking:
            self.excuse(stalled)
        for peer in self.peers:
            if self.is_silent(peer) or self.hangs(peer):
                yield from self.suspect(peer)
            else:
                yield from self.reconsider(peer)
        yield from self.say()

    # -- helpers

    def say(self) -> Effects:
        self.serial += 1
        yield Broadcast(self.peers, Beat(self.life, self.serial, self.progress))
        self.tick_due = self.context.now + self.interval
        yield SetTimer("tick", self.interval, periodic=True)

    def suspect(self, peer: int) -> Effects:
        self.ill[peer] = self.context.now
        if peer not in self.suspected:
            self.suspected.add(peer)
            why = "" if self.is_silent(peer) else ", which beats and does not work"
            yield Record("suspect", f"suspects rank {peer}{why}", peer=peer)

    def reconsider(self, peer: int) -> Effects:
        if peer not in self.suspected or self.context.now - self.ill[peer] < self.steady:
            return
        if not self.is_silent(peer) and not self.hangs(peer):
            self.suspected.discard(peer)
            yield Record("trust", f"trusts rank {peer}", peer=peer)

    def is_silent(self, peer: int) -> bool:
        return self.watched[peer].suspects(self.context.now)

    def hangs(self, peer: int) -> bool:
        """Its count stands still, and others are ahead: who waits for one that hangs stands still
        as well, and is not to blame. Neither is who has no work (a count of 0)."""
        count, since = self.advanced[peer]
        if self.context.now - since <= self.stuck:
            return False
        return 0 < count < max(self.progress, *(c for c, _ in self.advanced.values()))

    def stood_still(self) -> float:
        """Seconds for which this node's own tick is overdue, 0 while that is but a little late."""
        late = self.context.now - self.tick_due
        return late if late > self.interval else 0.0

    def excuse(self, stalled: float) -> None:
        """Its own silence convicts nobody. Not forgotten, only shifted: who stands still again and
        again would otherwise never suspect anyone."""
        now = self.context.now
        for peer in self.peers:
            self.watched[peer].excuse(now, stalled)
            count, since = self.advanced[peer]
            self.advanced[peer] = count, min(now, since + stalled)
