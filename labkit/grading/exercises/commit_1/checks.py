"""commit.1: what the coordinator decides. Bugs: mutants p09 and p03 of real implementations."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Votes = list[tuple[int, bool]]
Drawn = tuple[list[int], Votes, bool]
STRANGER = 9


def participants_of(r: random.Random) -> list[int]:
    return sorted(r.sample(range(1, 9), r.choice([2, 3, 4])))


def shuffled(r: random.Random, votes: Votes) -> Votes:
    return r.sample(votes, len(votes))


def draw_plain(r: random.Random) -> Drawn:
    """All have said yes, or one of them no, or one is silent still."""
    ranks = participants_of(r)
    votes = [(rank, True) for rank in ranks]
    what = r.choice(["all", "no", "silent"])
    if what == "no":
        votes[0] = ranks[0], False
    elif what == "silent":
        votes = votes[1:]
    return ranks, shuffled(r, votes), False


def draw_repeated(r: random.Random) -> Drawn:
    """Messages come twice, and late ones of another transaction come, too."""
    ranks = participants_of(r)
    votes = [(rank, True) for rank in ranks[r.choice([0, 1]) :]]
    extra = r.choice([[votes[-1]], [(STRANGER, True)], [(STRANGER, False)]])
    return ranks, shuffled(r, votes + extra), False


def draw_late(r: random.Random) -> Drawn:
    ranks = participants_of(r)
    votes = [(rank, True) for rank in ranks[r.choice([0, 1, len(ranks)]) :]]
    return ranks, shuffled(r, votes), r.random() < 0.6


PROPERTIES = [
    Property("a yes of each commits, a single no aborts", draw_plain, cases=40),
    Property("a vote counts once, and a stranger's not at all", draw_repeated, cases=40),
    Property("after the deadline silence aborts, before it waits", draw_late, cases=40),
]
