"""The exercises of notebook 12, Replication and quorums."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import permutations

from labkit.checks import Exercise

# ---- replication.1: how many to read, how many to write -----------------------------------------


def quorums(n: int, dead_readers: int, dead_writers: int) -> tuple[int, int] | None:
    reads, writes = dead_writers + 1, n - dead_writers
    return (reads, writes) if reads <= n - dead_readers else None


def draw_quorums(r: random.Random) -> tuple[int, int, int]:
    n = r.randrange(2, 10)
    return n, r.randrange(0, n), r.randrange(0, n)


def touching(n: int, dead_readers: int, dead_writers: int) -> tuple[int, int] | None:
    found = quorums(n, dead_readers, dead_writers)
    return found and (max(1, found[0] - 1), found[1])


def majorities(n: int, dead_readers: int, dead_writers: int) -> tuple[int, int] | None:
    possible = quorums(n, dead_readers, dead_writers) is not None
    return (n // 2 + 1, n // 2 + 1) if possible else None


# ---- replication.2: is it linearizable? ---------------------------------------------------------

Call = tuple[str, int | None, float, float]
"""What it did, with which value, and when it began and ended."""


def explained(order: tuple[Call, ...]) -> bool:
    value: int | None = None
    for kind, mine, _, _ in order:
        if kind == "write":
            value = mine
        elif mine != value:
            return False
    return True


def linearizable(calls: list[Call]) -> bool:
    return _some_order(calls, lambda a, b: b[3] >= a[2])


def _some_order(calls: list[Call], may_follow: Callable[[Call, Call], bool]) -> bool:
    """Whether an order explains all, in which `may_follow(a, b)` for each a before b."""
    return any(
        explained(order)
        and all(may_follow(a, b) for i, a in enumerate(order) for b in order[i + 1 :])
        for order in permutations(calls)
    )


def draw_calls(r: random.Random) -> tuple[list[Call]]:
    """Four or five calls of which about half the time an order explains all."""
    calls: list[Call] = []
    for _ in range(r.randrange(4, 6)):
        begin = round(r.uniform(0, 6), 1)
        kind = r.choice(["write", "read"])
        value = r.randrange(1, 3) if kind == "write" or r.random() < 0.7 else None
        calls.append((kind, value, begin, round(begin + r.uniform(0.5, 4), 1)))
    return (calls,)


def any_order(calls: list[Call]) -> bool:
    return _some_order(calls, lambda a, b: True)


def order_of_beginnings(calls: list[Call]) -> bool:
    return explained(tuple(sorted(calls, key=lambda call: call[2])))


def order_of_ends(calls: list[Call]) -> bool:
    return explained(tuple(sorted(calls, key=lambda call: call[3])))


# ---- replication.3: vector clocks ---------------------------------------------------------------

Clock = dict[int, int]


def compare(a: Clock, b: Clock) -> str:
    ahead = any(count > b.get(node, 0) for node, count in a.items())
    behind = any(count > a.get(node, 0) for node, count in b.items())
    return {(0, 0): "equal", (1, 0): "after", (0, 1): "before"}.get((ahead, behind), "concurrent")


def draw_clocks(r: random.Random) -> tuple[Clock, Clock]:
    """Often related, and a count of 0 is sometimes written and sometimes left out."""
    a = {node: r.randrange(0, 4) for node in range(r.randrange(1, 4))}
    b = {node: count + r.choice([0, 0, 1, -1]) for node, count in a.items()}
    if r.random() < 0.5:
        b[3] = r.randrange(0, 2)
    b = {node: max(0, count) for node, count in b.items() if count or r.random() < 0.5}
    return (a, b) if r.random() < 0.5 else (b, a)


def by_sum(a: Clock, b: Clock) -> str:
    mine, theirs = sum(a.values()), sum(b.values())
    return "before" if mine < theirs else "after" if mine > theirs else "equal"


def zeros_are_missing(a: Clock, b: Clock) -> str:
    found = compare(a, b)
    return "concurrent" if found == "equal" and a != b else found


def only_common(a: Clock, b: Clock) -> str:
    shared = a.keys() & b.keys()
    return compare({node: a[node] for node in shared}, {node: b[node] for node in shared})


# ---- replication.4: Krum ------------------------------------------------------------------------

Vectors = list[list[float]]


def _by(score: Callable[[list[float], int, int], float]) -> Callable[[Vectors, int], int]:
    """The index with the lowest score, made of its squared distances to the others, in order."""

    def choose(gradients: Vectors, f: int) -> int:
        n, scores = len(gradients), []
        for i, mine in enumerate(gradients):
            others = [g for j, g in enumerate(gradients) if j != i]
            squares = [sum((x - y) ** 2 for x, y in zip(mine, g, strict=True)) for g in others]
            scores.append(score(sorted(squares), n, f))
        return scores.index(min(scores))

    return choose


krum = _by(lambda squares, n, f: sum(squares[: n - f - 2]))


def draw_gradients(r: random.Random) -> tuple[Vectors, int]:
    """Honest ones around one point and f liars, who agree, on another."""
    f, size = r.randrange(1, 3), r.randrange(2, 4)
    honest = [[r.gauss(1, 0.6) for _ in range(size)] for _ in range(f + 3 + r.randrange(3))]
    far = [r.choice([-1, 1]) * r.uniform(2, 4) for _ in range(size)]
    liars = [[x + r.gauss(0, 0.05) for x in far] for _ in range(f)]
    every = [[round(x, 2) for x in g] for g in [*honest, *liars]]
    r.shuffle(every)
    return every, f


EXERCISES = {
    "replication.1": Exercise(
        quorums,
        draw_quorums,
        cases=30,
        picture=lambda cases: None,
        mistakes={
            "R + W = N is not enough: the two can miss each other": touching,
            "majorities are not always the smallest R": majorities,
            "who may be dead for a read decides R, and for a write W": lambda n, a, b: quorums(
                n, b, a
            ),
            "if too many may be dead, there is no answer: None": lambda n, a, b: (b + 1, n - b),
        },
    ),
    "replication.2": Exercise(
        linearizable,
        draw_calls,
        cases=40,
        mistakes={
            "a call that ended before another began must come first": any_order,
            "calls that overlap may take effect in either order": order_of_beginnings,
            "a call may take effect before one that ended earlier": order_of_ends,
        },
    ),
    "replication.3": Exercise(
        compare,
        draw_clocks,
        cases=30,
        mistakes={
            "sums say nothing: {0: 2} and {1: 2} are concurrent": by_sum,
            "a node that is missing has made no change: 0": zeros_are_missing,
            "nodes that stand in only one of the clocks count, too": only_common,
        },
    ),
    "replication.4": Exercise(
        krum,
        draw_gradients,
        cases=30,
        mistakes={
            "only the n − f − 2 nearest others count: the liars must not": _by(
                lambda squares, n, f: sum(squares)
            ),
            "the nearest one alone lets two liars vouch for each other": _by(
                lambda squares, n, f: squares[0]
            ),
            "distances are squared": _by(
                lambda squares, n, f: sum(x**0.5 for x in squares[: n - f - 2])
            ),
        },
    ),
}
