"""raft.7: the leader's commit rule. Bugs: m13 (figure 8 of the paper), m33."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[list[int], list[int], int, int]


def matches(r: random.Random, log: list[int]) -> list[int]:
    """Of three, four or five nodes; the leader's own log is the first."""
    return [len(log), *(r.randrange(len(log) + 1) for _ in range(r.choice([2, 3, 4])))]


def draw_own(r: random.Random) -> Drawn:
    """All entries are the leader's own; now and then it does not know yet what others have."""
    term = r.randrange(1, 5)
    log = [term] * r.randrange(3, 9)
    return matches(r, log), log, term, r.randrange(len(log))


def draw_inherited(r: random.Random) -> Drawn:
    term = r.randrange(2, 5)
    log = sorted(r.choice([1, term - 1, term]) for _ in range(r.randrange(3, 9)))
    match = matches(r, log)
    return match, log, term, r.randrange(sorted(match)[(len(match) - 1) // 2] + 1)


PROPERTIES = [
    Property("what a majority has is committed", draw_own, cases=30),
    Property("an entry of an earlier term is not counted", draw_inherited, cases=40),
]
