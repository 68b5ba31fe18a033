"""The exercises of notebook 03, Data-parallel training."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labkit.checks import Exercise

# ---- data_parallel.1 ---------------------------------------------------------------------------


def mean_of_all(means: Sequence[Tensor], samples: Sequence[int]) -> Tensor:
    return sum(m * n for m, n in zip(means, samples, strict=True)) / torch.tensor(sum(samples))


def draw_parts(r: random.Random) -> tuple[list[Tensor], list[int]]:
    """Unequal parts; the last rank may have none."""
    samples = [r.randrange(1, 40) for _ in range(r.randrange(2, 6))] + [r.choice([0, 7])]
    means = [torch.tensor([r.uniform(-1, 1) for _ in range(6)]) * (n > 0) for n in samples]
    return means, samples


def mean_of_means(means: Sequence[Tensor], samples: Sequence[int]) -> Tensor:
    return torch.stack(list(means)).mean(0)


def sum_of_all(means: Sequence[Tensor], samples: Sequence[int]) -> Tensor:
    return mean_of_all(means, samples) * sum(samples)


# ---- data_parallel.2 ---------------------------------------------------------------------------


def into_buckets(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    return packed(range(len(sizes) - 1, -1, -1), sizes, capacity)


def packed(order: Sequence[int], sizes: Sequence[int], capacity: int) -> list[list[int]]:
    buckets: list[list[int]] = []
    room = 0
    for place in order:
        if not buckets or sizes[place] > room:
            buckets.append([])
            room = capacity
        buckets[-1].append(place)
        room -= sizes[place]
    return buckets


def draw_sizes(r: random.Random) -> tuple[list[int], int]:
    """One tensor is larger than a bucket, and two neighbours would overfill one."""
    sizes = [r.randrange(10, 60) for _ in range(r.randrange(5, 9))]
    sizes.insert(r.randrange(1, len(sizes)), r.randrange(120, 300))
    return sizes, 100


def from_the_first(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    return packed(range(len(sizes)), sizes, capacity)


def overfull(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    buckets: list[list[int]] = [[]]
    for place in range(len(sizes) - 1, -1, -1):
        if sum(sizes[i] for i in buckets[-1]) >= capacity:
            buckets.append([])
        buckets[-1].append(place)
    return buckets


def one_each(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    return [[place] for place in range(len(sizes) - 1, -1, -1)]


# ---- data_parallel.3 ---------------------------------------------------------------------------


def all_through(full: Sequence[float], travel: Sequence[float]) -> float:
    free = 0.0
    for ready, seconds in zip(full, travel, strict=True):
        free = max(free, ready) + seconds
    return free


def draw_schedule(r: random.Random) -> tuple[list[float], list[float]]:
    """The second bucket finds the wire busy; the last finds it idle, or waits in a queue."""
    full = sorted(r.uniform(1, 20) for _ in range(r.randrange(3, 7)))
    travel = [r.uniform(0.5, 3) for _ in full]
    travel[0] += full[1] - full[0]
    if r.random() < 0.5:
        full[-1] += sum(travel)
    else:
        travel[-2] += full[-1] - full[-2]
    return [f / 1e3 for f in full], [t / 1e3 for t in travel]


def no_queue(full: Sequence[float], travel: Sequence[float]) -> float:
    return max(ready + seconds for ready, seconds in zip(full, travel, strict=True))


# ---- data_parallel.4 ---------------------------------------------------------------------------


def largest(gradient: Tensor, left: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return kept(gradient + left, count)


def kept(
    entries: Tensor, count: int, by: Callable[[Tensor], Tensor] = torch.abs
) -> tuple[Tensor, Tensor]:
    places = by(entries).topk(count).indices
    sent = torch.zeros_like(entries)
    sent[places] = entries[places]
    return sent, entries - sent


def draw_gradient(r: random.Random) -> tuple[Tensor, Tensor, int]:
    gradient, left = (torch.tensor([r.uniform(-1, 1) for _ in range(12)]) for _ in range(2))
    return gradient, left, r.randrange(2, 5)


def without_feedback(gradient: Tensor, left: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return kept(gradient, count)


def largest_signed(gradient: Tensor, left: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return kept(gradient + left, count, by=lambda entries: entries)


def left_twice(gradient: Tensor, left: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return kept(gradient + left, count)[0], gradient + left


EXERCISES = {
    "data_parallel.1": Exercise(
        mean_of_all,
        draw_parts,
        tolerance=1e-4,
        mistakes={
            "a rank with few samples must not count as much as one with many": mean_of_means,
            "divide by all samples of all ranks together": sum_of_all,
        },
    ),
    "data_parallel.2": Exercise(
        into_buckets,
        draw_sizes,
        mistakes={
            "the last layer's gradient is ready first, so begin with the last": from_the_first,
            "a tensor that no longer fits opens the next bucket": overfull,
            "small neighbours share a bucket": one_each,
        },
    ),
    "data_parallel.3": Exercise(
        all_through,
        draw_schedule,
        mistakes={
            "a bucket need not wait until the last one is full": lambda f, t: max(f) + sum(t),
            "a bucket cannot set off before it is full": lambda f, t: sum(t),
            "one wire carries one bucket at a time": no_queue,
        },
    ),
    "data_parallel.4": Exercise(
        largest,
        draw_gradient,
        tolerance=1e-4,
        mistakes={
            "add what was left last time before choosing": without_feedback,
            "a large negative entry is large: compare absolute values": largest_signed,
            "what was sent is no longer left": left_twice,
        },
    ),
}
