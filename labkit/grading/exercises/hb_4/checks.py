"""hb.4: what SWIM believes of a member. Bugs: d07, a dead node that a late beat revives."""

from __future__ import annotations

import random
from collections.abc import Callable

from labkit.grading.exercise import Property

STATUS = ("alive", "suspect", "faulty")
Belief = tuple[int, str]


def draw_incarnations(r: random.Random) -> tuple[Belief, Belief]:
    old = r.randrange(1, 5)
    new = old + r.choice([-1, 1])
    return (old, r.choice(STATUS)), (new, r.choice(STATUS))


def draw_statuses(r: random.Random) -> tuple[Belief, Belief]:
    incarnation = r.randrange(5)
    return (incarnation, r.choice(STATUS)), (incarnation, r.choice(STATUS))


def draw_news(r: random.Random) -> tuple[Belief, list[Belief]]:
    """What is believed at first, and four pieces of news in the order in which they come."""
    news = [(r.randrange(3), r.choice(STATUS)) for _ in range(4)]
    return (0, "alive"), news


def one_after_the_other(
    function: Callable[[Belief, Belief], Belief], first: Belief, news: list[Belief]
) -> list[Belief]:
    """What two members believe in the end: one hears the news in this order, one the other way
    round."""
    ends = []
    for order in (news, news[::-1]):
        belief = first
        for heard in order:
            belief = function(belief, heard)
        ends.append(belief)
    return ends


PROPERTIES = [
    Property("a higher incarnation is newer", draw_incarnations, cases=30),
    Property("in one incarnation faulty beats suspect, and suspect alive", draw_statuses, cases=30),
    Property("in any order of the news all end alike", draw_news, one_after_the_other),
]
