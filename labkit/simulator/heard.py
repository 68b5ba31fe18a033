"""What any detector would have said to beats that really came.

A host writes down everything that its nodes handle (`labkit.protocols.handled`), so the beats of a
real run can be heard again, by other detectors, and each gets the same luck.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

from labkit.protocols.codec import message_decoder
from labkit.protocols.handled import Begun, read
from labkit.protocols.heartbeat import Beat, Heartbeat
from labkit.simulator.qos import MakeDetector, QoS, deadline, mistakes_of

Pair = tuple[int, int]
"""Who listens, and to whom."""


def beats(folder: Path, group: str) -> dict[Pair, list[float]]:
    """When the `Heartbeat` nodes that ran as `group` heard each other, in seconds of the host's
    clock; only beats that prove something. `folder` is that of the cluster."""
    decode = message_decoder(Heartbeat).decode
    heard: dict[Pair, list[float]] = {}
    newest: dict[Pair, tuple[int, int]] = {}
    for path in sorted((folder / "handled").glob(f"{group}.*")):
        me = -1
        for entry in read(path):
            if isinstance(entry, Begun):
                me = entry.node
            elif entry.kind == "message" and entry.peer is not None:
                m, pair = decode(entry.what), (me, entry.peer)
                if isinstance(m, Beat) and (m.life, m.serial) > newest.get(pair, (0, 0)):
                    newest[pair] = m.life, m.serial
                    heard.setdefault(pair, []).append(entry.now)
    return heard


def between(heard: dict[Pair, list[float]], begin: float, end: float) -> list[list[float]]:
    """The arrivals of that time, one list for each pair that has some."""
    cut = [[at for at in came if begin <= at <= end] for came in heard.values()]
    return [came for came in cut if len(came) > 1]


def of_beats(
    make: MakeDetector, histories: Iterable[Sequence[float]], crashes: int = 100, seed: int = 0
) -> QoS:
    """The quality of a detector for all these histories; in each, `crashes` at moments drawn from
    all its time: how long would each have gone unnoticed? (Beats under way count as lost.)"""
    draw = Random(f"{seed}/crashes")
    detections: list[float] = []
    mistakes: list[float] = []
    recurrences: list[float] = []
    watched = 0.0
    for came in histories:
        wrong = mistakes_of(make, came)
        mistakes += [end - begin for begin, end in wrong]
        recurrences += [after - before for (before, _), (after, _) in pairwise(wrong)]
        watched += came[-1] - came[0]
        moments = sorted(draw.uniform(came[0], came[-1]) for _ in range(crashes))
        detections += _noticed(make, came, moments)
    return QoS(tuple(detections), tuple(mistakes), tuple(recurrences), watched)


def _noticed(make: MakeDetector, came: Sequence[float], moments: Sequence[float]) -> list[float]:
    detector, done, found = make(came[0]), 1, []
    for crash in moments:
        upto = bisect_right(came, crash)
        for at in came[done:upto]:
            detector.beat(at)
        done = max(done, upto)
        last = came[done - 1]
        found.append(max(0.0, deadline(detector, last, furthest=1000.0) - crash))
    return found
