"""How good a failure detector is, in the measures of W. Chen, S. Toueg and M. Aguilera, "On the
Quality of Service of Failure Detectors", IEEE Transactions on Computers 51(5), 2002.

T_D   detection time: from a crash to the moment from which the detector suspects for good
T_MR  mistake recurrence time: from one mistake (a suspicion of a live node) to the next
T_M   mistake duration: from a mistake to its correction

and derived from them λ_M = 1 / E(T_MR), mistakes per second, and P_A = 1 - E(T_M) / E(T_MR), the
probability that a live node is trusted when somebody asks. The first says how fast a detector is,
the others how often, and for how long, it is wrong: any detector can have one of them for nothing.

`of_events` takes them from the record of a run, simulated or real; `of_pair` draws the arrivals of
one node's beats at another and nothing else, a hundred times as fast. (`labkit.simulator.heard`:
what a detector would have said to beats that really came.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from random import Random
from statistics import fmean

from msgspec import Struct

from labkit.events import Event
from labkit.protocols.heartbeat import Detector
from labkit.simulator.network import Links, Network

MakeDetector = Callable[[float], Detector]


class QoS(Struct, frozen=True):
    """All times in seconds. `watched` is for how long live nodes were watched, over all pairs.

    `detections` has one time for each observer of each crash, infinite when it was never noticed.
    """

    detections: tuple[float, ...]
    mistakes: tuple[float, ...]
    recurrences: tuple[float, ...]
    watched: float

    @property
    def detection(self) -> float:
        """E(T_D)."""
        return fmean(self.detections) if self.detections else math.nan

    @property
    def slowest(self) -> float:
        return max(self.detections, default=math.nan)

    @property
    def duration(self) -> float:
        """E(T_M); 0 without a mistake."""
        return fmean(self.mistakes) if self.mistakes else 0.0

    @property
    def recurrence(self) -> float:
        """E(T_MR) = 1 / λ_M; infinite without a mistake."""
        return self.watched / len(self.mistakes) if self.mistakes else math.inf

    @property
    def rate(self) -> float:
        """λ_M, per second; 0 says that there was none in `watched` seconds."""
        return len(self.mistakes) / self.watched if self.watched else math.nan

    @property
    def accuracy(self) -> float:
        """P_A."""
        return 1 - sum(self.mistakes) / self.watched if self.watched else math.nan


# -- from the record of a run

Span = tuple[float, float]


def of_events(events: Iterable[Event], accuses: str = "suspect", end: float | None = None) -> QoS:
    """Over all pairs of nodes of a run, from its starts, deaths, suspicions and trusts.

    `accuses` is the kind of event that counts as a suspicion ("lost" for what SWIM declares after
    its own suspicion); `end` is when the record ends, without it the time of the last event. A
    suspicion of the dead that outlives their restart is no mistake: it was right when it began.
    """
    told = sorted(events, key=lambda event: event.time)
    end = told[-1].time if end is None else end
    lives = _lives(told, end)
    said = _suspicions(told, accuses, lives, end)
    detections: list[float] = []
    mistakes: list[float] = []
    recurrences: list[float] = []
    watched = 0.0
    for observer in lives:
        for peer in lives:
            if observer != peer:
                spans = said.get((observer, peer), [])
                wrong = [s for up in lives[peer] for s in _mistakes(spans, up)]
                mistakes += [b - a for a, b in wrong]
                recurrences += [after[0] - a for (a, _), after in pairwise(wrong)]
                watched += sum(_overlap(x, y) for x in lives[observer] for y in lives[peer])
                detections += _detections(spans, lives[observer], lives[peer], end)
    return QoS(tuple(detections), tuple(mistakes), tuple(recurrences), watched)


def _lives(events: Sequence[Event], end: float) -> dict[int, list[Span]]:
    """By rank, from when to when it lived."""
    lives: dict[int, list[Span]] = {}
    for e in events:
        if e.kind == "start" and e.rank >= 0:
            lives.setdefault(e.rank, []).append((e.time, end))
        elif e.kind == "death" and e.rank in lives:
            lives[e.rank][-1] = lives[e.rank][-1][0], e.time
    return lives


def _suspicions(
    events: Sequence[Event], accuses: str, lives: dict[int, list[Span]], end: float
) -> dict[tuple[int, int], list[Span]]:
    """By observer and peer, from when to when it suspected it."""
    said: dict[tuple[int, int], list[Span]] = {}
    for e in events:
        if e.kind not in (accuses, "trust") or e.rank not in lives:
            continue
        spans = said.setdefault((e.rank, e.data["peer"]), [])
        if spans and spans[-1][1] > e.time:  # it still suspected
            if e.kind == "trust":
                spans[-1] = spans[-1][0], e.time
        elif e.kind == accuses:
            spans.append((e.time, next(b for a, b in lives[e.rank] if a <= e.time <= b)))
    return said


def _mistakes(spans: list[Span], up: Span) -> list[Span]:
    return [(a, min(b, up[1])) for a, b in spans if up[0] <= a < up[1]]


def _detections(
    spans: list[Span], watching: list[Span], lives: list[Span], end: float
) -> list[float]:
    """For each crash of the peer in the sight of the observer: its time to a suspicion for good."""
    found = []
    for n, (_, crash) in enumerate(lives):
        dead_until = lives[n + 1][0] if n + 1 < len(lives) else end
        for a, b in watching:
            if a <= crash < min(b, dead_until):
                last = min(b, dead_until)
                begun = [s for s, t in spans if s <= last <= t]
                found.append(max(0.0, begun[0] - crash) if begun else math.inf)
    return found


def _overlap(one: Span, other: Span) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


# -- one pair, and nothing but its beats


def arrivals(
    network: Network, interval: float, beats: int, draw: Random
) -> list[tuple[float, float]]:
    """When beats that prove something arrive, and when each was sent: of copies only the first, and
    none that was overtaken."""
    links = Links(network)
    came = sorted(
        (k * interval + delay, k) for k in range(beats) for delay in links.arrivals(0, 1, draw)[:2]
    )
    newest, fresh = -1, []
    for time, k in came:
        if k > newest:
            newest = k
            fresh.append((time, k * interval))
    return fresh


def deadline(detector: Detector, now: float, furthest: float) -> float:
    """When it begins to suspect in a silence that lasts from now, by bisection to a microsecond;
    infinite when not within `furthest` seconds."""
    if not detector.suspects(now + furthest):
        return math.inf
    low, high = now, now + furthest
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if detector.suspects(middle) else (middle, high)
    return high


def of_pair(
    make: MakeDetector,
    network: Network,
    interval: float = 0.05,
    beats: int = 20_000,
    crashes: int = 100,
    seed: int = 0,
) -> QoS:
    """One node watches another over a `network` for so many `beats`; then it crashes, in so many
    histories, each after 200 beats and a moment drawn between two of them.

    The detector is asked at every moment, not only at the ticks of a protocol: what a node adds is
    up to one tick.
    """
    draw = Random(f"{seed}/arrivals")
    came = [at for at, _ in arrivals(network, interval, beats, draw)]
    wrong = mistakes_of(make, came)
    detections = [_crash(make, network, interval, draw) for _ in range(crashes)]
    return QoS(
        tuple(detections),
        tuple(end - begin for begin, end in wrong),
        tuple(after - before for (before, _), (after, _) in pairwise(wrong)),
        came[-1] - came[0],
    )


def mistakes_of(make: MakeDetector, came: Sequence[float]) -> list[Span]:
    """From when to when a detector is wrong of a live node whose beats came at these times."""
    detector = make(came[0])
    wrong: list[Span] = []
    for before, at in pairwise(came):
        if detector.suspects(at):
            wrong.append((deadline(detector, before, at - before), at))
        detector.beat(at)
    return wrong


def _crash(
    make: MakeDetector, network: Network, interval: float, draw: Random, beats: int = 200
) -> float:
    """T_D of one crash, after so many beats."""
    came = arrivals(network, interval, beats, draw)
    detector = make(came[0][0])
    for time, _ in came[1:]:
        detector.beat(time)
    crash = (beats - draw.random()) * interval
    return max(0.0, deadline(detector, came[-1][0], 1000 * interval) - crash)
