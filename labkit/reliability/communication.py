"""What an all-reduce costs on paper: the alpha-beta model.

A message of m bytes takes alpha + beta m seconds (R. W. Hockney, "The communication challenge for
MPP: Intel Paragon and Meiko CS-2", Parallel Computing 20(3), 1994): alpha seconds of latency, beta
seconds per byte. Adding a byte costs gamma seconds. A rank sends one message and receives one at
the same time, and links do not disturb each other.

Costs are those of R. Thakur, R. Rabenseifner and W. Gropp, "Optimization of collective
communication operations in MPICH", IJHPCA 19(1), 2005, and of P. Patarasuk and X. Yuan, "Bandwidth
optimal all-reduce algorithms for clusters of workstations", JPDC 69(2), 2009. `size` is in bytes,
`ranks` a count, answers are in seconds. One rank has nobody to talk to: 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from labkit.reliability.mtbf import Values


@dataclass(frozen=True)
class Wire:
    """A link, and the arithmetic at its ends."""

    alpha: float
    """seconds per message"""
    beta: float
    """seconds per byte on the wire"""
    gamma: float = 0.0
    """seconds per byte added"""


def message(wire: Wire, size: Values) -> Values:
    """One message of `size` bytes: alpha + beta m. Hockney 1994."""
    return wire.alpha + wire.beta * np.asarray(size)


def naive(wire: Wire, ranks: int, size: Values) -> Values:
    """Everyone sends everything to one rank, which adds up and sends the sum to each in turn.

    2(n-1) messages of the whole size pass through one rank's link.
    """
    return (ranks - 1) * (2 * message(wire, size) + wire.gamma * np.asarray(size))


def tree(wire: Wire, ranks: int, size: Values) -> Values:
    """A binomial tree up, adding, and the same tree down: 2 ceil(lg n) whole messages.

    Thakur and others 2005, reduce and broadcast by binomial tree.
    """
    rounds = ceil_log2(ranks)
    return rounds * (2 * message(wire, size) + wire.gamma * np.asarray(size))


def ring(wire: Wire, ranks: int, size: Values) -> Values:
    """Reduce-scatter and all-gather round a ring: 2(n-1) messages of one n-th of the size.

    The bytes per rank, 2(n-1)/n S, are the fewest possible: Patarasuk and Yuan 2009.
    """
    part = np.asarray(size) / ranks
    return (ranks - 1) * (2 * message(wire, part) + wire.gamma * part)


def halving_doubling(wire: Wire, ranks: int, size: Values) -> Values:
    """Recursive halving, then recursive doubling: 2 lg n messages, the ring's bytes.

    Thakur and others 2005 (Rabenseifner's algorithm). Beyond a power of two the surplus ranks hand
    their whole vector to a partner first and get the sum back at the end: two messages more.
    """
    power = 1 << (ranks.bit_length() - 1)
    size = np.asarray(size)
    moved = (power - 1) / power * size
    cost = 2 * ceil_log2(power) * wire.alpha + 2 * wire.beta * moved + wire.gamma * moved
    if ranks > power:
        cost = cost + 2 * message(wire, size) + wire.gamma * size
    return cost


ALGORITHMS: dict[str, Callable[[Wire, int, Values], Values]] = {
    "naive": naive,
    "tree": tree,
    "ring": ring,
    "halving_doubling": halving_doubling,
}


def ceil_log2(n: int) -> int:
    """The number of rounds in which one rank can reach n - 1 others."""
    return (n - 1).bit_length()


def least_bytes(ranks: int, size: Values) -> Values:
    """2(n-1)/n S: what the busiest rank must send, at least. Patarasuk and Yuan 2009."""
    return 2 * (ranks - 1) / ranks * np.asarray(size)


def bus_bandwidth(ranks: int, size: Values, seconds: Values) -> Values:
    """2(n-1)/n S / t, in bytes per second: comparable between numbers of ranks.

    NVIDIA nccl-tests, doc/PERFORMANCE.md.
    """
    return least_bytes(ranks, size) / seconds


def crossover(first: str, second: str, wire: Wire, ranks: int) -> float | None:
    """The size in bytes from which the second algorithm is the faster one; None if there is none.

    All costs are straight lines in the size, so there is at most one crossing.
    """
    a, b = ALGORITHMS[first], ALGORITHMS[second]
    start = float(b(wire, ranks, 0.0) - a(wire, ranks, 0.0))
    gain = float(a(wire, ranks, 1.0) - b(wire, ranks, 1.0)) + start
    return max(start / gain, 0.0) if gain > 0 else None


def fit(sizes: Sequence[float], seconds: Sequence[float]) -> Wire:
    """alpha and beta from measured messages: least squares on relative errors.

    Relative, since a plain fit would see nothing but the largest message. Sizes in bytes.
    """
    x, y = np.asarray(sizes, dtype=float), np.asarray(seconds, dtype=float)
    if len(x) < 2 or np.ptp(x) == 0:
        raise ValueError("alpha and beta need messages of at least two different sizes")
    columns = np.stack([np.ones_like(x), x], axis=1) / y[:, None]
    alpha, beta = np.linalg.lstsq(columns, np.ones_like(y), rcond=None)[0]
    return Wire(max(float(alpha), 0.0), max(float(beta), 0.0))
