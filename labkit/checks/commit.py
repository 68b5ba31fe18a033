"""The exercises of the notebook on two-phase commit."""

from __future__ import annotations

import random

from labkit.checks import Exercise

# ---- commit.1: what does the coordinator decide? -------------------------------------------------


def decide(participants: list[int], votes: list[tuple[int, bool]], late: bool) -> str:
    if any(not yes for rank, yes in votes if rank in participants):
        return "abort"
    if {rank for rank, yes in votes if yes} >= set(participants):
        return "commit"
    return "abort" if late else "wait"


def draw_votes(r: random.Random) -> tuple[list[int], list[tuple[int, bool]], bool]:
    """Votes come twice now and then, and from ranks of another transaction."""
    participants = sorted(r.sample(range(1, 6), r.choice([2, 3])))
    voters = [p for p in participants if r.random() < 0.8]
    voters += [r.choice(voters)] * (bool(voters) and r.random() < 0.5)
    voters += [9] * (r.random() < 0.3)
    votes = [(rank, True) for rank in voters]
    if votes and r.random() < 0.25:
        votes[0] = votes[0][0], False
    return participants, r.sample(votes, len(votes)), r.random() < 0.4


def counts_votes(participants: list[int], votes: list[tuple[int, bool]], late: bool) -> str:
    if not all(yes for _, yes in votes):
        return "abort"
    return "commit" if len(votes) >= len(participants) else "abort" if late else "wait"


def takes_silence_for_yes(
    participants: list[int], votes: list[tuple[int, bool]], late: bool
) -> str:
    known = decide(participants, votes, False)
    return "commit" if known == "wait" and late else known


def waits_for_ever(participants: list[int], votes: list[tuple[int, bool]], late: bool) -> str:
    return decide(participants, votes, False)


# ---- commit.2: in doubt, and the coordinator is gone ---------------------------------------------


def terminate(states: list[str]) -> str:
    if "committed" in states:
        return "commit"
    return "abort" if {"aborted", "working"} & set(states) else "wait"


def draw_states(r: random.Random) -> tuple[list[str]]:
    """No run of two-phase commit has both a commit and somebody who has not voted."""
    others = r.choice(["committed", "aborted", "working", "silent", "in doubt"])
    return ([r.choice(["in doubt", "silent", others]) for _ in range(r.randrange(1, 5))],)


def gives_up(states: list[str]) -> str:
    return "commit" if "committed" in states else "abort"


def is_optimistic(states: list[str]) -> str:
    if {"aborted", "working"} & set(states):
        return "abort"
    return "wait" if "silent" in states and "committed" not in states else "commit"


def asks_for_a_record(states: list[str]) -> str:
    return "commit" if "committed" in states else "abort" if "aborted" in states else "wait"


EXERCISES = {
    "commit.1": Exercise(
        reference=decide,
        draw=draw_votes,
        mistakes={
            "a vote that comes twice is one vote, and a stranger's is none": counts_votes,
            "who is silent may have no room on its disk: silence is no yes": takes_silence_for_yes,
            "nobody has promised the coordinator a vote: after the deadline it aborts": (
                waits_for_ever
            ),
        },
        cases=40,
    ),
    "commit.2": Exercise(
        reference=terminate,
        draw=draw_states,
        mistakes={
            "who is silent may have heard “commit”: an abort would be a guess": gives_up,
            "the last yes may have come too late for the coordinator: a commit would be a guess": (
                is_optimistic
            ),
            "who has not voted yet can still abort for all of you": asks_for_a_record,
        },
        cases=40,
    ),
}
