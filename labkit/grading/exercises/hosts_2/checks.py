"""hosts.2: what a few questions tell about the clock of another host (F. Cristian, "Probabilistic
clock synchronization", Distributed Computing 3, 1989; the intersection is K. Marzullo's, 1984).

The ways there and back take times of their own, as where one direction is queued. Nothing that is
drawn lies within a microsecond of a bound, where rounding would decide.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from labkit.checks import Case
from labkit.grading.exercise import Property

Question = tuple[float, float, float]
Way = tuple[float, float]
MARGIN = 1e-4
"""Seconds."""
FAR = 1e5
"""The most by which a clock is ahead or behind: a day, in seconds."""


def asked(r: random.Random, ahead: float, ways: list[Way]) -> list[Question]:
    """Of a clock that is so far ahead, one after the other."""
    found, now = [], r.uniform(0, 1000)
    for there, back in ways:
        found.append((now, now + there + ahead, now + there + back))
        now += there + back + r.uniform(0, 0.1)
    return found


def drawn_way(r: random.Random, queued: float) -> Way:
    """Seconds there and back, one of which is queued, with that probability."""
    there, back = (r.uniform(1e-3, 2e-3) for _ in range(2))
    if r.random() < queued:
        there, back = r.choice([(30 * there, back), (there, 30 * back)])
    return there, back


def drawn(r: random.Random, apart: float, questions: list[Question]) -> tuple[Any, ...]:
    """With events that are `apart`, each by its own clock."""
    mine = questions[-1][0] + r.uniform(0, 10)
    return mine, mine + apart, questions


def draw_far(r: random.Random) -> tuple[Any, ...]:
    """Their clock is seconds or hours ahead or behind; the events are a second apart."""
    ahead = r.choice([-1, 1]) * r.choice([r.uniform(0.3, 3), r.uniform(10, FAR)])
    questions = asked(r, ahead, [drawn_way(r, 0.4) for _ in range(8)])
    return drawn(r, ahead + r.choice([-1, 1]) * r.uniform(0.5, 2), questions)


def draw_close(r: random.Random) -> tuple[Any, ...]:
    """Each way has been quick once, and both never at the same time: so the quickest answer has one
    good bound, and the events are beyond the other."""
    ahead = r.uniform(-50, 50)
    ways = [drawn_way(r, queued=1.0) for _ in range(4)]
    there, back = min(ways, key=sum)
    slow_back = back > there
    quick, slow = r.uniform(1e-3, 2e-3), r.uniform(0.04, 0.06)
    ways.append((slow, quick) if slow_back else (quick, slow))  # has the other good bound
    r.shuffle(ways)
    quick_there, quick_back = (min(way[side] for way in ways) for side in (0, 1))
    beyond = (-back, -quick_back) if slow_back else (quick_there, there)
    apart = ahead + r.uniform(beyond[0] + MARGIN, beyond[1] - MARGIN)
    return drawn(r, apart, asked(r, ahead, ways))


def draw_unknown(r: random.Random) -> tuple[Any, ...]:
    """Mostly between the bounds; now and then a little outside of them."""
    ahead = r.uniform(-50, 50)
    ways = [drawn_way(r, 0.4) for _ in range(8)]
    late, early = min(there for there, _ in ways), min(back for _, back in ways)
    apart = r.uniform(MARGIN - early, late - MARGIN)
    if r.random() < 0.3:
        outside = r.uniform(MARGIN, late + early)
        apart = r.choice([-early - outside, late + outside])
    return drawn(r, ahead + apart, asked(r, ahead, ways))


def picture(cases: Sequence[Case]) -> Any:
    """The first wrong case, else the first: what each question tells."""
    from labkit.views.clock_bounds import clock_bounds

    case = next((case for case in cases if case.got != case.expected), cases[0])
    mine, theirs, questions = case.arguments
    yours = "" if case.got == case.expected else f"; yours: {case.got!r:.30}"
    return clock_bounds(questions, theirs - mine, f"Who was first? {case.expected!r}{yours}")


PROPERTIES = [
    Property(
        "the order of two events, however far the clocks are apart",
        draw_far,
        cases=20,
        picture=picture,
    ),
    Property(
        "all questions together tell more than the quickest",
        draw_close,
        cases=20,
        picture=picture,
    ),
    Property(
        "nobody claims to know what nobody can know",
        draw_unknown,
        cases=30,
        picture=picture,
    ),
]
