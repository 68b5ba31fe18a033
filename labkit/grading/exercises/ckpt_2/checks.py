"""ckpt.2: where the data stand after a step, as `labkit.training.sampler` counts."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[int, int, int]


def draw_even(r: random.Random) -> Drawn:
    batch = r.choice([8, 12, 128])
    return r.randrange(200), batch * r.randrange(1, 30), batch


def draw_short(r: random.Random) -> Drawn:
    """Now and then there is but one batch, and it is short."""
    batch = r.choice([8, 12, 128])
    return r.randrange(200), batch * r.randrange(12) + r.randrange(1, batch), batch


PROPERTIES = [
    Property("batches that divide the epoch", draw_even, cases=30),
    Property("a last batch that is smaller", draw_short, cases=30),
]
