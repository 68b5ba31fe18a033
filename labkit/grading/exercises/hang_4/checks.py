"""hang.4: blocking sends around a ring, where a send ends when its receive is there (rendezvous).

The picture is the graph of who waits for whom, at the moment at which nobody can go on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from labkit.checks import Case
from labkit.grading.exercise import Property

Plans = dict[int, list[str]]
ROUNDS = 3


class Ended(dict[str, str]):
    """What is compared, and who waited for whom in the end, for the picture."""

    waits: dict[int, int | None]


def draw_size(r: random.Random) -> tuple[int]:
    return (r.randrange(2, 10),)


def draw_large(r: random.Random) -> tuple[int]:
    return (r.randrange(6, 17),)


def play(function: Callable[[int, int], Any], size: int) -> tuple[Ended, int]:
    """Runs the plans of all ranks in rounds; in each, every rank that can ends one call."""
    plans: Plans = {}
    ended = Ended()
    ended.waits = {}
    for rank in range(size):
        calls = [f"send to {(rank + 1) % size}", f"receive from {(rank - 1) % size}"]
        answer = function(rank, size)
        if not isinstance(answer, list | tuple) or list(answer) not in (calls, calls[::-1]):
            ended[f"rank {rank} of {size}"] = f"makes other calls than these two: {answer!r:.60}"
            return ended, 0
        plans[rank] = list(answer)
    rounds = 0
    while any(plans.values()):
        pairs = [pair for rank in plans if (pair := met(plans, rank, size))]
        if not pairs:
            break
        for pair in pairs:
            for rank in pair:
                plans[rank].pop(0)
        rounds += 1
    for rank, plan in plans.items():
        ended[f"rank {rank} of {size}"] = f"hangs at {plan[0]!r}" if plan else "is done"
        ended.waits[rank] = int(plan[0].split()[-1]) if plan else None
    return ended, rounds


def met(plans: Plans, rank: int, size: int) -> tuple[int, int] | None:
    """The rank and its right neighbour, if the one is at its send and the other at the receive."""
    right = (rank + 1) % size
    calls = plans[rank][:1] + plans[right][:1]
    return (rank, right) if calls == [f"send to {right}", f"receive from {rank}"] else None


def ends(function: Callable[[int, int], Any], size: int) -> Ended:
    return play(function, size)[0]


def quickly(function: Callable[[int, int], Any], size: int) -> Ended:
    ended, rounds = play(function, size)
    ended["rounds"] = f"at most {ROUNDS}" if rounds <= ROUNDS else f"{rounds}"
    return ended


def circle(cases: Sequence[Case]) -> Any:
    """Who waits for whom, of the smallest case in which somebody hangs."""
    from labkit.views.waits import waits_for

    stuck = [case.got for case in cases if any(w is not None for w in case.got.waits.values())]
    if not stuck:
        return None
    graph = min((got.waits for got in stuck), key=len)
    return waits_for(graph, title="Who waits for whom", why=f"{len(graph)} ranks,\nfor ever")


PROPERTIES = [
    Property("nobody waits in a circle", draw_size, ends, cases=10, picture=circle),
    Property(
        "all are done after three rounds, however many they are",
        draw_large,
        quickly,
        cases=10,
        picture=circle,
    ),
]
