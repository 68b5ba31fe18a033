"""The exercises of the notebooks on Raft: 09 has 1 and 2, 10 has 3 and 4."""

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


# ---- raft.3: what is committed? ------------------------------------------------------------------


def commit_index(match: list[int], log: list[int], term: int, commit: int) -> int:
    """`match` has the leader's own log in it, `log` the terms of its entries from index 1 on."""
    index = sorted(match)[(len(match) - 1) // 2]
    return index if index > commit and log[index - 1] == term else commit


def draw_match(r: random.Random) -> tuple[list[int], list[int], int, int]:
    term = r.randrange(2, 5)
    log = sorted(r.choice([1, term - 1, term]) for _ in range(r.randrange(3, 9)))
    match = [len(log), *(r.randrange(len(log) + 1) for _ in range(r.choice([2, 3, 4])))]
    return match, log, term, r.randrange(sorted(match)[(len(match) - 1) // 2] + 1)


def counts_old_entries(match: list[int], log: list[int], term: int, commit: int) -> int:
    return max(commit, sorted(match)[(len(match) - 1) // 2])


def counts_half(match: list[int], log: list[int], term: int, commit: int) -> int:
    index = sorted(match)[len(match) // 2]
    return index if index > commit and log[index - 1] == term else commit


# ---- raft.4: the follower's log ------------------------------------------------------------------


def append(log: list[int], prev: int, prev_term: int, entries: list[int]) -> list[int] | None:
    """The log afterwards, as terms from index 1 on; None when it refuses."""
    if prev > len(log) or (prev > 0 and log[prev - 1] != prev_term):
        return None
    for at, term in enumerate(entries, prev):
        if at >= len(log) or log[at] != term:
            return log[:at] + entries[at - prev :]
    return log


def draw_append(r: random.Random) -> tuple[list[int], int, int, list[int]]:
    mine = sorted(r.randrange(1, 4) for _ in range(r.randrange(1, 7)))
    leader = mine[: r.randrange(len(mine) + 1)]
    leader += sorted(r.randrange(leader[-1] if leader else 1, 5) for _ in range(r.randrange(4)))
    leader = leader if r.random() < 0.6 or len(mine) < 2 else mine[:]
    prev = r.randrange(len(leader) + 1)
    entries = leader[prev : prev + r.randrange(4)]
    return mine, prev, leader[prev - 1] if prev else 0, entries


def always_cuts(log: list[int], prev: int, prev_term: int, entries: list[int]) -> Any:
    if prev > len(log) or (prev > 0 and log[prev - 1] != prev_term):
        return None
    return log[:prev] + entries


def never_cuts(log: list[int], prev: int, prev_term: int, entries: list[int]) -> Any:
    if prev > len(log) or (prev > 0 and log[prev - 1] != prev_term):
        return None
    return log[:prev] + entries + log[prev + len(entries) :]


def never_looks(log: list[int], prev: int, prev_term: int, entries: list[int]) -> Any:
    return append(log, prev, log[prev - 1] if prev else 0, entries) if prev <= len(log) else None


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
    "raft.3": Exercise(
        reference=commit_index,
        draw=draw_match,
        mistakes={
            "a majority has it, but the entry is of an earlier term: figure 8": counts_old_entries,
            "of an even number of nodes, half is not a majority": counts_half,
        },
        cases=40,
    ),
    "raft.4": Exercise(
        reference=append,
        draw=draw_append,
        mistakes={
            "a late message must not shorten the log: cut only where an entry differs": always_cuts,
            "what follows an entry that differs is not the leader's: cut it off": never_cuts,
            "the entry before must have the leader's term, or the logs do not match": never_looks,
        },
        cases=60,
    ),
}
