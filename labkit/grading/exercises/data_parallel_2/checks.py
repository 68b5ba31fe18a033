"""data_parallel.2: gradients share buckets, in the order in which they arrive (S. Li and others,
“PyTorch distributed”, VLDB 2020, section 3.2.3)."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

CAPACITY = 100


def draw_small(r: random.Random) -> tuple[list[int], int]:
    """Two or three share a bucket, and two neighbours would overfill one."""
    return [r.randrange(10, 60) for _ in range(r.randrange(5, 10))], CAPACITY


def draw_large(r: random.Random) -> tuple[list[int], int]:
    """One or two tensors are larger than a bucket, with small ones on either side."""
    sizes, _ = draw_small(r)
    for _ in range(r.choice([1, 2])):
        sizes.insert(r.randrange(1, len(sizes)), r.randrange(120, 300))
    return sizes, CAPACITY


PROPERTIES = [
    Property("from the last to the first, and none too full", draw_small, cases=8),
    Property("what is larger than a bucket has one of its own", draw_large, cases=8),
]
