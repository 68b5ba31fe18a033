"""commit.2: cooperative termination. Bugs: p01 and p11, decisions that are guesses."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property


def drawn(r: random.Random, kinds: list[str]) -> tuple[list[str]]:
    """What the others say: no run has both a commit and somebody who has not voted or aborts."""
    others = r.choice(kinds)
    states = [others, *(r.choice(["in doubt", "silent", others]) for _ in range(r.randrange(4)))]
    return (r.sample(states, len(states)),)


def draw_known(r: random.Random) -> tuple[list[str]]:
    return drawn(r, ["committed", "aborted"])


def draw_unknown(r: random.Random) -> tuple[list[str]]:
    return drawn(r, ["working", "silent", "in doubt"])


PROPERTIES = [
    Property("who knows the decision is believed", draw_known),
    Property("without a record nobody guesses", draw_unknown, cases=40),
]
