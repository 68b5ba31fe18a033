"""cluster.2: the events that happened before a crash (L. Lamport, “Time, clocks, and the ordering
of events in a distributed system”, CACM 21(7), 1978)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import partial

from labkit.grading.exercise import Property
from labkit.grading.hidden import hidden
from labkit.views.space_time import Entry
from labkit.views.suspects import suspects_picture

Log = list[Entry]
RANKS, EVENTS = 4, 14


@hidden
def directly_before(log: Log, b: int) -> list[int]:
    """Those above it on its own rank, and the sending of the message that it receives."""
    rank, kind, message = log[b]
    own = [a for a in range(b) if log[a][0] == rank]
    return own + [
        a for a in range(len(log)) if kind == "receive" and log[a][1:] == ("send", message)
    ]


@hidden
def before(log: Log, places: Iterable[int]) -> set[int]:
    return {a for b in places for a in directly_before(log, b)}


@hidden
def past(log: Log, crash: int) -> set[int]:
    found = before(log, [crash])
    while (more := found | before(log, sorted(found))) != found:
        found = more
    return found


@hidden
def upwards(log: Log, crash: int) -> set[int]:
    """What one pass from the crash to the top finds: too little, where clocks lie."""
    found = {crash}
    for a in reversed(range(crash)):
        if a in before(log, sorted(found)):
            found.add(a)
    return found - {crash}


@hidden
def tells_answers_apart(log: Log, crash: int) -> bool:
    """Whether there are neither too few suspects nor too many, and some of them far away."""
    near = before(log, [crash, *directly_before(log, crash)])
    return 4 <= len(past(log, crash)) <= 10 and past(log, crash) != near


@hidden
def leads_astray(log: Log, crash: int) -> bool:
    return upwards(log, crash) != past(log, crash)


def happened(r: random.Random) -> Log:
    """Fourteen events of four ranks in their true order, and then a crash."""
    log: Log = []
    in_flight: list[tuple[int, str]] = []
    letters = iter("abcdefghijklmnop")
    while len(log) < EVENTS:
        rank = r.randrange(RANKS)
        arrived = [message for to, message in in_flight if to == rank]
        chance = r.random()
        if arrived and chance < 0.75:
            in_flight.remove((rank, arrived[0]))
            log.append((rank, "receive", arrived[0]))
        elif chance < 0.85:
            letter = next(letters)
            in_flight.append((r.choice([x for x in range(RANKS) if x != rank]), letter))
            log.append((rank, "send", letter))
        else:
            log.append((rank, "work", None))
    heard = [rank for rank, kind, _ in log if kind == "receive"]
    log.append((heard[-1] if heard else 0, "crash", None))
    return log


def draw_incident(r: random.Random, skew: float) -> tuple[Log, int]:
    """The same, merged by clocks of which each is wrong by up to `skew` events."""
    while True:
        true = happened(r)
        if not tells_answers_apart(true, EVENTS):
            continue
        wrong_by = [r.uniform(-skew, skew) for _ in range(RANKS)]
        order = sorted(range(len(true)), key=lambda i: i + wrong_by[true[i][0]])
        log, crash = [true[i] for i in order], order.index(EVENTS)
        if skew == 0 or leads_astray(log, crash):
            return log, crash


PROPERTIES = [
    Property(
        "with clocks that agree",
        partial(draw_incident, skew=0.0),
        cases=6,
        picture=suspects_picture,
    ),
    Property(
        "with clocks that do not agree",
        partial(draw_incident, skew=8.0),
        cases=6,
        picture=suspects_picture,
    ),
]
