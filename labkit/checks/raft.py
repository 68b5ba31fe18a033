"""The exercises of notebook 09, Raft: electing a coordinator."""

from __future__ import annotations

import random
from typing import Any

from labkit.checks import Exercise

# ---- raft.1: is the vote given? ------------------------------------------------------------------


def grants(
    term: int, voted_for: int | None, candidate: int, candidate_term: int
) -> tuple[bool, int, int | None]:
    """Whether the vote is given, and the term and vote that are on the disk afterwards."""
    if candidate_term > term:
        term, voted_for = candidate_term, None
    granted = candidate_term == term and voted_for in (None, candidate)
    return granted, term, candidate if granted else voted_for


def draw_request(r: random.Random) -> tuple[int, int | None, int, int]:
    term = r.randrange(1, 6)
    voted_for = r.choice([None, 0, 1, 2])
    return term, voted_for, r.randrange(3), term + r.choice([-1, 0, 0, 1])


def forgets_the_term(term: int, voted_for: int | None, candidate: int, theirs: int) -> Any:
    granted = theirs >= term and voted_for in (None, candidate)
    return granted, max(term, theirs), candidate if granted else voted_for


def votes_for_the_past(term: int, voted_for: int | None, candidate: int, theirs: int) -> Any:
    if theirs > term:
        term, voted_for = theirs, None
    granted = voted_for in (None, candidate)
    return granted, term, candidate if granted else voted_for


def votes_again(term: int, voted_for: int | None, candidate: int, theirs: int) -> Any:
    granted = theirs >= term
    return granted, max(term, theirs), candidate if granted else voted_for


# ---- raft.2: which time-out does a disk allow? ---------------------------------------------------


def timeout(fsync: float, latency: float, beats: int) -> float:
    return max(10 * fsync, beats * 3 * 2 * latency)


def draw_disk(r: random.Random) -> tuple[float, float, int]:
    fsync = r.choice([0.0002, 0.002, 0.01, 0.08])
    return fsync, r.choice([0.0001, 0.001, 0.04]), r.randrange(1, 5)


EXERCISES = {
    "raft.1": Exercise(
        reference=grants,
        draw=draw_request,
        mistakes={
            "a higher term begins a new election: the vote of the old term binds nobody in it": (
                forgets_the_term
            ),
            "a candidate of an earlier term gets no vote: its election is over": votes_for_the_past,
            "one vote in a term: who has voted for another says no": votes_again,
        },
        cases=40,
    ),
    "raft.2": Exercise(
        reference=timeout,
        draw=draw_disk,
        mistakes={
            "the slower of the two decides, not their sum": lambda f, lat, b: (
                10 * f + b * 3 * 2 * lat
            ),
            "the disk counts as well: a vote is written before it is sent": lambda f, lat, b: (
                b * 3 * 2 * lat
            ),
        },
    ),
}
