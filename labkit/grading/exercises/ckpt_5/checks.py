"""ckpt.5: garbage of incremental checkpoints, as `labkit.checkpoint.retention` collects it."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[list[str], dict[int, set[str]]]


def draw_frozen(r: random.Random) -> Drawn:
    """A frozen layer stands in an old file; every checkpoint has one of its own besides."""
    steps = list(range(10, 10 * r.randrange(5, 9), 10))
    full = r.choice(steps[:2])
    kept = {step: {f"{step}.shard", f"{full}.shard"} for step in steps[-2:]}
    files = [f"{step}.shard" for step in steps]
    return r.sample(files, len(files)), kept


def draw_abandoned(r: random.Random) -> Drawn:
    """Attempts that were broken off have left files, newer than what is kept, too."""
    files, kept = draw_frozen(r)
    newest = max(kept)
    left = [f"{newest + 10 * more}.shard" for more in range(1, r.randrange(2, 4))]
    return r.sample(files + left, len(files + left)), kept


PROPERTIES = [
    Property("a file that a kept checkpoint refers to stays", draw_frozen, cases=30),
    Property("a file that nobody refers to goes, however new it is", draw_abandoned, cases=30),
]
