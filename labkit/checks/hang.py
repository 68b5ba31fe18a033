"""The exercises of notebook 05, on hangs and on numbers that are none."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from typing import Any

from labkit.checks import Exercise

Records = dict[int, list[str]]

# ---- hang.1: where do the records part? ----------------------------------------------------------


def first_difference(records: Records) -> tuple[int, list[int]] | None:
    for number in range(max(map(len, records.values()))):
        calls = {rank: (*record, *[None] * 99)[number] for rank, record in records.items()}
        most = Counter(sorted(calls.values(), key=str)).most_common(1)[0][0]
        odd = sorted(rank for rank, call in calls.items() if call != most)
        if odd:
            return number + 1, odd
    return None


def draw_records(r: random.Random) -> tuple[Records]:
    n, calls = r.choice([3, 5, 7]), ["all_reduce[10]", "all_reduce[20]", "barrier", "broadcast[4]"]
    common = [r.choice(calls) for _ in range(r.randrange(4, 9))]
    records = {rank: list(common) for rank in range(n)}
    odd = r.sample(range(n), r.randrange(1, (n + 1) // 2))
    at, how = r.randrange(1, len(common)), r.choice(["other", "missing", "none"])
    for rank in odd:
        if how == "other":
            records[rank][at] = "reduce[10]"
        elif how == "missing":
            del records[rank][at:]
    return (records,)


def ignores_the_absent(records: Records) -> Any:
    for number in range(min(map(len, records.values()))):
        calls = {rank: record[number] for rank, record in records.items()}
        most = Counter(calls.values()).most_common(1)[0][0]
        if odd := sorted(rank for rank, call in calls.items() if call != most):
            return number + 1, odd
    return None


def counts_from_zero(records: Records) -> Any:
    found = first_difference(records)
    return found and (found[0] - 1, found[1])


def only_the_lengths(records: Records) -> Any:
    longest = max(map(len, records.values()))
    behind = sorted(rank for rank, record in records.items() if len(record) < longest)
    return (min(map(len, records.values())) + 1, behind) if behind else None


# ---- hang.2: the loss scale ----------------------------------------------------------------------


def next_scale(scale: float, good: int, sums: list[float], interval: int) -> tuple[float, int]:
    if not all(map(math.isfinite, sums)):
        return scale / 2, 0
    return (scale * 2, 0) if good + 1 == interval else (scale, good + 1)


def draw_scale(r: random.Random) -> tuple[float, int, list[float], int]:
    interval = r.choice([3, 10, 2000])
    sums = [r.uniform(-9, 9) for _ in range(4)]
    if r.random() < 0.5:
        sums[r.randrange(4)] = r.choice([math.nan, math.inf, -math.inf])
    return 2.0 ** r.randrange(1, 30), r.choice([0, 1, interval - 1]), sums, interval


def sees_only_nan(scale: float, good: int, sums: list[float], interval: int) -> Any:
    return next_scale(scale, good, [0.0 if math.isinf(x) else x for x in sums], interval)


def keeps_the_count(scale: float, good: int, sums: list[float], interval: int) -> Any:
    found = next_scale(scale, good, sums, interval)
    return (found[0], good) if found[0] < scale else found


def never_grows(scale: float, good: int, sums: list[float], interval: int) -> Any:
    found = next_scale(scale, good, sums, interval)
    return (scale, good + 1) if found[0] > scale else found


# ---- hang.3: who is a straggler? -----------------------------------------------------------------


def stragglers(times: list[float], factor: float, score: float) -> list[int]:
    found = []
    for rank, time in enumerate(times):
        others = times[:rank] + times[rank + 1 :]
        middle = statistics.median(others)
        deviation = 1.4826 * statistics.median(abs(x - middle) for x in others)
        if time > factor * middle and time > middle + score * deviation:
            found.append(rank)
    return found


def draw_times(r: random.Random) -> tuple[list[float], float, float]:
    times = [0.1 * r.uniform(0.9, 1.1) for _ in range(r.randrange(2, 9))]
    for _ in range(r.randrange(3)):
        times[r.randrange(len(times))] *= r.choice([1.3, 2.0, 3.0, 30.0])
    return times, 1.5, 3.5


def by_the_mean(times: list[float], factor: float, score: float) -> Any:
    return [r for r, t in enumerate(times) if t > factor * statistics.mean(times)]


def by_mean_and_deviation(times: list[float], factor: float, score: float) -> Any:
    middle, deviation = statistics.mean(times), statistics.pstdev(times)
    return [r for r, t in enumerate(times) if t > middle + score * deviation]


def with_itself(times: list[float], factor: float, score: float) -> Any:
    middle = statistics.median(times)
    deviation = 1.4826 * statistics.median(abs(x - middle) for x in times)
    return [
        r for r, t in enumerate(times) if t > factor * middle and t > middle + score * deviation
    ]


# ---- hang.4: an order of sends and receives that cannot deadlock ---------------------------------


def order(rank: int, size: int) -> list[str]:
    right, left = (rank + 1) % size, (rank - 1) % size
    send, receive = f"send to {right}", f"receive from {left}"
    return [receive, send] if rank == 0 else [send, receive]


def run_order(function: Any, size: int) -> str:
    """Rendezvous: a send ends when its receive is there. Runs the plans of all ranks."""
    plans = {rank: list(function(rank, size)) for rank in range(size)}
    for rank in range(size):
        right, left = (rank + 1) % size, (rank - 1) % size
        if sorted(plans[rank]) != sorted([f"send to {right}", f"receive from {left}"]):
            return f"rank {rank} sends or receives something else: {plans[rank]}"
    while any(plans.values()):
        pairs = [
            (a, b)
            for a in range(size)
            for b in range(size)
            if plans[a][:1] == [f"send to {b}"] and plans[b][:1] == [f"receive from {a}"]
        ]
        if not pairs:
            stuck = ", ".join(f"rank {r} at {plan[0]!r}" for r, plan in plans.items() if plan)
            return f"{size} ranks, deadlock: {stuck}"
        for pair in pairs:
            for rank in pair:
                plans[rank].pop(0)
    return f"{size} ranks: everybody is done"


def all_send_first(rank: int, size: int) -> list[str]:
    return [f"send to {(rank + 1) % size}", f"receive from {(rank - 1) % size}"]


def all_receive_first(rank: int, size: int) -> list[str]:
    return all_send_first(rank, size)[::-1]


EXERCISES = {
    "hang.1": Exercise(
        reference=first_difference,
        draw=draw_records,
        mistakes={
            "a rank that has made no call with this number differs too": ignores_the_absent,
            "collectives are numbered from 1": counts_from_zero,
            "ranks that made as many calls may have made other ones": only_the_lengths,
        },
        cases=40,
    ),
    "hang.2": Exercise(
        reference=next_scale,
        draw=draw_scale,
        mistakes={
            "an overflow is infinite before it is NaN: test for both": sees_only_nan,
            "the good steps are counted in a row: an overflow begins anew": keeps_the_count,
            "after `interval` good steps in a row the scale is doubled": never_grows,
        },
        cases=60,
    ),
    "hang.3": Exercise(
        reference=stragglers,
        draw=draw_times,
        mistakes={
            "one rank that is 30 times slower moves the mean: take the median": by_the_mean,
            "an outlier widens the standard deviation until it fits in": by_mean_and_deviation,
            "a rank is measured against the *others*: of two it is half of the median": with_itself,
        },
        cases=60,
    ),
    "hang.4": Exercise(
        reference=order,
        draw=lambda r: (r.choice([2, 3, 4, 5, 8]),),
        run=run_order,
        mistakes={
            "if all send first, nobody receives": all_send_first,
            "if all receive first, nobody sends": all_receive_first,
        },
        cases=5,
    ),
}
