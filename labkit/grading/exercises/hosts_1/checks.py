"""hosts.1: the nodes of an allocation, before and after some of them are lost.

The rule is that of the lab's Slurm launcher (`labkit/runtime/launch/slurm.py`), and the words for
how many tasks a node has are Slurm's own: sbatch(1), SLURM_TASKS_PER_NODE.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from labkit.checks import Case
from labkit.grading.exercise import Property

Job = tuple[list[str], str, list[str]]


def drawn(r: random.Random, fewest: int = 2) -> tuple[list[str], str]:
    """Nodes, and Slurm's words for how many tasks each has."""
    words, count = [], 0
    while count < fewest or r.random() < 0.5:
        tasks, times = r.randrange(1, 5), r.choice([1, 1, 2, 3])
        words.append(f"{tasks}(x{times})" if times > 1 else f"{tasks}")
        count += times
    names = r.sample(range(1, 40), count)  # the order is Slurm's, not that of the names
    return [f"n{number}" for number in names], ",".join(words)


def draw_whole(r: random.Random) -> Job:
    return (*drawn(r), [])


def draw_one_lost(r: random.Random) -> Job:
    nodes, tasks = drawn(r, fewest=3)
    return nodes, tasks, [r.choice(nodes)]


def draw_several_lost(r: random.Random) -> Job:
    nodes, tasks = drawn(r, fewest=4)
    return nodes, tasks, r.sample(nodes, r.randrange(2, len(nodes)))


def placed(
    function: Callable[..., Any], nodes: list[str], tasks: str, lost: list[str]
) -> dict[str, Any]:
    """Which ranks there are, and the node of each; an answer of another kind as it is."""
    answer = function(list(nodes), tasks, list(lost))
    if not isinstance(answer, dict):
        return {"the answer": f"{answer!r:.60}", "nodes": {}}
    whole = answer.keys() == set(range(len(answer)))
    ranks = f"0 to {len(answer) - 1}" if whole else f"{list(answer)!r:.60}"
    return {"ranks": ranks, "nodes": {f"rank {rank}": node for rank, node in answer.items()}}


def moves(cases: Sequence[Case]) -> Any:
    """The first wrong case, else the first: who is where, expected beside yours."""
    from labkit.views.seats import seats

    case = next((case for case in cases if case.got != case.expected), cases[0])
    nodes, tasks, lost = case.arguments
    title = f"{tasks} ranks a node" + (f", then {' and '.join(lost)} lost" if lost else "")
    return seats(
        nodes, lost, {"expected": case.expected["nodes"], "yours": case.got["nodes"]}, title
    )


PROPERTIES = [
    Property("ranks fill nodes in blocks", draw_whole, placed, cases=10, picture=moves),
    Property(
        "after a loss only its ranks move, each to the emptiest node",
        draw_one_lost,
        placed,
        cases=20,
        picture=moves,
    ),
    Property(
        "a node that took ranks in may be lost, too",
        draw_several_lost,
        placed,
        cases=20,
        picture=moves,
    ),
]
