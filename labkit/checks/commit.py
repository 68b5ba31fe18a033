"""The exercises of the notebook on two-phase commit."""

from __future__ import annotations

import random

from labkit.checks import Exercise

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
