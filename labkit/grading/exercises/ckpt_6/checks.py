"""ckpt.6: a copy that does not die with its original (Z. Wang et al., Gemini, SOSP 2023, §4)."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Drawn = tuple[int, int, int]


def draw_inner(r: random.Random) -> Drawn:
    """A rank of any host but the last."""
    per_host, hosts = r.choice([2, 4, 8]), r.randrange(3, 7)
    return r.randrange(per_host * (hosts - 1)), per_host * hosts, per_host


def draw_last(r: random.Random) -> Drawn:
    """Of two hosts, or a rank of the last of several."""
    per_host, hosts = r.choice([2, 4, 8]), r.randrange(2, 6)
    return per_host * (hosts - 1) + r.randrange(per_host), per_host * hosts, per_host


PROPERTIES = [
    Property("at the same place on the next host", draw_inner, cases=20),
    Property("after the last host comes the first", draw_last, cases=20),
]
