"""hang.1: flight records side by side, as `labkit.runtime.diagnosis` and torchfrtrace lay them."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Records = dict[int, list[str]]
CALLS = ("all_reduce[10]", "all_reduce[20]", "barrier", "broadcast[4]")


def agreeing(r: random.Random) -> tuple[Records, list[int]]:
    """Records that agree, and a minority of the ranks."""
    ranks = r.choice([3, 5, 7])
    common = [r.choice(CALLS) for _ in range(r.randrange(4, 9))]
    odd = r.sample(range(ranks), r.randrange(1, (ranks + 1) // 2))
    return {rank: list(common) for rank in range(ranks)}, odd


def draw_other(r: random.Random) -> tuple[Records]:
    """Some have called something else; what they call later may be anything."""
    records, odd = agreeing(r)
    at = r.randrange(len(records[0]))
    for rank in odd:
        records[rank][at] = "reduce[10]"
        if r.random() < 0.5:
            records[rank][at + 1 :] = r.sample(CALLS, r.randrange(3))
    return (records,)


def draw_missing(r: random.Random) -> tuple[Records]:
    """Some have stopped early, rank 0 as often as any other."""
    records, odd = agreeing(r)
    at = r.randrange(len(records[0]))
    for rank in odd:
        del records[rank][at:]
    return (records,)


def draw_any(r: random.Random) -> tuple[Records]:
    draw = r.choice([draw_other, draw_missing, lambda r: (agreeing(r)[0],)])
    return draw(r)


PROPERTIES = [
    Property("the first number at which a rank calls something else", draw_other, cases=30),
    Property("who has made no such call differs too", draw_missing, cases=30),
    Property("records that agree have no difference", draw_any, cases=30),
]
