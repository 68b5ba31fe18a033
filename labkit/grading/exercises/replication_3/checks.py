"""replication.3: which of two vector clocks came first."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Clock = dict[int, int]


def either_way(r: random.Random, a: Clock, b: Clock) -> tuple[Clock, Clock]:
    return (a, b) if r.random() < 0.5 else (b, a)


def draw_full(r: random.Random) -> tuple[Clock, Clock]:
    """Both know all nodes; often one follows from the other."""
    a = {node: r.randrange(4) for node in range(r.randrange(2, 4))}
    changes = r.choice([(0, 0, 1), (0, -1, 0), (1, -1)])
    b = {node: max(0, count + r.choice(changes)) for node, count in a.items()}
    return either_way(r, a, b)


def draw_sparse(r: random.Random) -> tuple[Clock, Clock]:
    """A count of 0 is sometimes written and sometimes left out."""
    a = {node: r.randrange(3) for node in range(r.randrange(1, 4))}
    b = {node: count for node, count in a.items() if count or r.random() < 0.4}
    if r.random() < 0.5:
        b[3] = r.randrange(2)
    return either_way(r, a, b)


PROPERTIES = [
    Property("before, after, equal or concurrent", draw_full, cases=30),
    Property("a node that is missing has made no change", draw_sparse, cases=30),
]
