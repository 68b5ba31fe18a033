"""The exercises of notebook 02, Ring all-reduce.

ring.1 is graded (`labkit/grading/exercises/ring_1`). ring.2 runs the answer on real links between
threads, with dyed chunks: what is compared says whose parts ended where, and what it took.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labkit.checks import Case, Exercise
from labkit.collectives import ring
from labkit.collectives.link import Link
from labkit.collectives.trace import Algorithm, Trace, trace, written
from labkit.reliability import communication
from labkit.reliability.communication import Wire

# ---- ring.2 ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ranks:
    """What a case is drawn from; its text stands in the check's sentence."""

    ranks: int
    elements: int

    def __repr__(self) -> str:
        return f"{self.ranks} ranks, {self.elements} elements"


class Outcome(dict[str, str]):
    """What is compared, and the trace that it was read from, for the picture."""

    seen: Trace


def draw_ranks(r: random.Random) -> tuple[Ranks]:
    """Some sizes are no multiple of the ranks, some leave a rank without an element."""
    return (Ranks(r.randrange(3, 7), r.randrange(2, 20)),)


def outcome(seen: Trace) -> Outcome:
    """Whose parts are in each chunk, and what each rank sent to whom."""
    ranks = len(seen.states[0])
    found = Outcome()
    for rank in range(ranks):
        for slot in range(ranks):
            if seen.lengths[slot]:
                found[f"rank {rank}, slot {slot}"] = written(seen.states[-1][rank][slot])
    for rank in range(ranks):
        sent = [m for m in seen.messages if m.source == rank]
        to = " and ".join(f"rank {t}" for t in sorted({m.target for m in sent})) or "nobody"
        elements = sum(m.elements for m in sent)
        found[f"rank {rank} sends"] = f"{len(sent)} messages, {elements} elements, to {to}"
    found.seen = seen
    return found


def after_all_gather(function: Algorithm, drawn: Ranks) -> Outcome:
    """Chunk r is complete at rank r before the answer runs; the others hold their own part."""

    def run(link: Link, chunks: list[Tensor]) -> None:
        chunks[link.rank].view(-1, link.size, link.size)[:, :, link.rank] = 1
        function(link, chunks)

    return outcome(trace(run, drawn.ranks, drawn.elements))


def pass_on(
    link: Link, chunks: list[Tensor], first: int, steps: int, take: Callable[[Tensor, Tensor], Any]
) -> None:
    """The ring with everything that one can get wrong as an argument."""
    for step in range(steps):
        give, into = (chunks[(first - step - k) % link.size] for k in (0, 1))
        incoming = torch.empty_like(into)
        link.transfer(sends=[(give, link.right)], receives=[(incoming, link.left)]).wait()
        take(into, incoming)


def adding(link: Link, chunks: list[Tensor]) -> None:
    pass_on(link, chunks, link.rank, link.size - 1, torch.Tensor.add_)


def another_first(link: Link, chunks: list[Tensor]) -> None:
    pass_on(link, chunks, link.rank - 1, link.size - 1, torch.Tensor.copy_)


def gather_a_step_more(link: Link, chunks: list[Tensor]) -> None:
    pass_on(link, chunks, link.rank, link.size, torch.Tensor.copy_)


def steps_beside(cases: Sequence[Case]) -> Any:
    """The first wrong case step by step, expected above and yours below; else one that is right."""
    from labkit.views.chunks import Table, draw_tables
    from labkit.views.ring_pictures import tables_of

    wrong = [c for c in cases if c.expected != c.got]
    shown = [c for c in (wrong or cases) if c.arguments[0].ranks <= 5] or list(wrong or cases)
    if not shown:
        return None
    case = shown[0]
    yours = tables_of(case.got.seen, "yours, step")
    yours[0] = Table("yours, at first", yours[0].state, [])
    if not wrong:
        return draw_tables([yours], case.arguments[0].ranks)
    expected = tables_of(case.expected.seen, "expected, step")
    expected[0] = Table("expected, at first", expected[0].state, [])
    return draw_tables([expected, yours], case.arguments[0].ranks)


# ---- ring.3 ------------------------------------------------------------------------------------

WIRES = {
    "NVLink": (3.4e-6, 1 / 370e9),
    "InfiniBand": (14e-6, 1 / 50e9),
    "Ethernet": (50e-6, 1 / 1.25e9),
    "the Internet": (20e-3, 1 / 12.5e6),
}
"""Seconds of latency and seconds per byte, in round figures."""


def cheaper(ranks: int, size: float, alpha: float, beta: float) -> str:
    wire = Wire(alpha, beta)
    ring_takes = communication.ring(wire, ranks, size)
    return "ring" if ring_takes < communication.tree(wire, ranks, size) else "tree"


def draw_choice(r: random.Random) -> tuple[int, float, float, float]:
    """A size within a factor of 16 of the crossing, but not so near that rounding decides."""
    alpha, beta = r.choice(list(WIRES.values()))
    ranks = r.choice([4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 100, 256, 1000])
    crossing = communication.crossover("tree", "ring", Wire(alpha, beta), ranks) or alpha / beta
    return (
        ranks,
        float(round(crossing * 2 ** (r.choice([-1, 1]) * r.uniform(0.15, 4)))),
        alpha,
        beta,
    )


def by(
    ring_cost: Callable[..., float], tree_cost: Callable[..., float]
) -> Callable[[int, float, float, float], str]:
    def choose(ranks: int, size: float, alpha: float, beta: float) -> str:
        times = [cost(ranks, size, alpha, beta) for cost in (ring_cost, tree_cost)]
        return "ring" if times[0] < times[1] else "tree"

    return choose


def ring_cost(n: int, s: float, a: float, b: float) -> float:
    return 2 * (n - 1) * (a + b * s / n)


def tree_cost(n: int, s: float, a: float, b: float) -> float:
    return 2 * (n - 1).bit_length() * (a + b * s)


def map_of_choices(cases: Sequence[Case]) -> Any:
    from labkit.views.costs import choices

    return choices([(*c.arguments, c.expected, c.got) for c in cases])


EXERCISES = {
    "ring.2": Exercise(
        ring.all_gather,
        draw_ranks,
        run=after_all_gather,
        picture=steps_beside,
        mistakes={
            "a complete chunk replaces what was there, nothing is added": adding,
            "rank r begins with the one chunk that it has complete, chunk r": another_first,
            "n − 1 steps are enough": gather_a_step_more,
        },
    ),
    "ring.3": Exercise(
        cheaper,
        draw_choice,
        cases=40,
        picture=map_of_choices,
        mistakes={
            "the ring sends 2(n − 1) messages, not 2": by(
                lambda n, s, a, b: 2 * a + 2 * (n - 1) * b * s / n, tree_cost
            ),
            "a message is one n-th of the tensor on the ring, and all of it in the tree": by(
                lambda n, s, a, b: 2 * (n - 1) * (a + b * s), tree_cost
            ),
            "the tree goes up and down: 2 log₂ n messages": by(
                ring_cost, lambda n, s, a, b: (n - 1).bit_length() * (a + b * s)
            ),
        },
    ),
}
