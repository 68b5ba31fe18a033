"""raft.3: the vote. Bugs: m05 and its kind, a second vote in a term."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[int, int | None, int, int]


def drawn(r: random.Random, later: list[int]) -> Drawn:
    """A candidate whose term is later than the node's by one of these."""
    term = r.randrange(1, 6)
    return term, r.choice([None, 0, 1, 2]), r.randrange(3), term + r.choice(later)


def draw_same(r: random.Random) -> Drawn:
    return drawn(r, [0])


def draw_higher(r: random.Random) -> Drawn:
    return drawn(r, [1, 1, 3])


def draw_earlier(r: random.Random) -> Drawn:
    return drawn(r, [-1])


PROPERTIES = [
    Property("one vote in a term", draw_same, cases=30),
    Property("a higher term begins anew", draw_higher),
    Property("an earlier term is over", draw_earlier),
]
