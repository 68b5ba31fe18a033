"""ring.3: the choice that NCCL makes before every all-reduce, on wires of very different kinds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from labkit.checks import Case
from labkit.grading.exercise import Property
from labkit.reliability import communication
from labkit.reliability.communication import Wire
from labkit.views.costs import choices

WIRES = {
    "NVLink": (3.4e-6, 1 / 370e9),
    "InfiniBand": (14e-6, 1 / 50e9),
    "Ethernet": (50e-6, 1 / 1.25e9),
    "the Internet": (20e-3, 1 / 12.5e6),
}
"""Seconds of latency and seconds per byte, in round figures."""


def draw_choice(r: random.Random, ranks: Sequence[int]) -> tuple[int, float, float, float]:
    """A size within a factor of 16 of the crossing, but not so near that rounding decides."""
    alpha, beta = r.choice(list(WIRES.values()))
    count = r.choice(ranks)
    crossing = communication.crossover("tree", "ring", Wire(alpha, beta), count) or alpha / beta
    size = float(round(crossing * 2 ** (r.choice([-1, 1]) * r.uniform(0.15, 4))))
    return count, size, alpha, beta


def map_of_choices(cases: Sequence[Case]) -> Any:
    return choices([(*c.arguments, c.expected, c.got) for c in cases])


PROPERTIES = [
    Property(
        "with a power of two of ranks",
        partial(draw_choice, ranks=(4, 8, 16, 32, 64, 256)),
        cases=40,
        picture=map_of_choices,
    ),
    Property(
        "with any number of ranks",
        partial(draw_choice, ranks=(5, 6, 7, 9, 12, 17, 24, 33, 48, 100, 1000)),
        cases=40,
        picture=map_of_choices,
    ),
]
