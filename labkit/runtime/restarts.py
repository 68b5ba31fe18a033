"""Whether a launcher starts a failed rank again: rules on errors, and an end to restart storms.

Most failures pass with a restart. Two kinds do not: a device that is broken stays so, and a model
that does not fit into memory will not fit the next time. And a rank that dies again and again
before it has done anything takes the others along each time: so restarts are counted, they wait
longer and longer, and the last one ends with a sentence that quotes the first cause, which is
mostly the true one, and the last. (Determined's log policies exclude a node or do not retry on a
pattern; Kubernetes backs off from 10 s to 5 min and forgets after 10 min without a failure.)

Pure: the time comes with each failure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NO_MEMORY = re.compile(r"MemoryError|out of memory|Cannot allocate memory|std::bad_alloc", re.I)
"""Asked first: `CUDA error: out of memory` says nothing against the device."""

BROKEN_DEVICE = re.compile(
    r"CUDA error|device-side assert|uncorrectable ECC|double.bit ECC|\bXid\b|fallen off the bus"
    r"|cudaError(LaunchFailure|IllegalAddress|ECCUncorrectable)|HIP error",
    re.I,
)


@dataclass(frozen=True)
class Failure:
    """A rank that failed at `time` (seconds, monotonic): `cause` is its exception's name and text,
    or its signal; `step` the last that it completed in this life, None for none."""

    rank: int
    host: str
    cause: str
    time: float
    step: int | None = None

    def __str__(self) -> str:
        when = "before its first step" if self.step is None else f"after step {self.step}"
        return f"rank {self.rank} on {self.host} failed {when}: {self.cause}"


@dataclass(frozen=True)
class Restart:
    """Start the rank anew in `after` seconds, on any host but these."""

    after: float
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class GiveUp:
    """Do not: `why` is for the user."""

    why: str


@dataclass
class Restarts:
    """Of one job. At most `limit` restarts, or so many of `each` rank, and `cycles` in a row of
    ranks that did no step since; waits of `first` seconds, doubled up to `longest` until a life of
    the rank has lasted `forget` seconds."""

    limit: int = 10
    cycles: int = 3
    first: float = 1.0
    longest: float = 60.0
    forget: float = 600.0
    each: bool = False
    failures: list[Failure] = field(default_factory=list)
    excluded: set[str] = field(default_factory=set)
    fruitless: int = 0

    def decide(self, failure: Failure) -> Restart | GiveUp:
        """What to do about it; remembers it."""
        self.failures.append(failure)
        self.fruitless = self.fruitless + 1 if failure.step is None else 0
        if NO_MEMORY.search(failure.cause):
            return self._end("more memory will not be there the next time: use a smaller batch")
        if BROKEN_DEVICE.search(failure.cause):
            self.excluded.add(failure.host)
        counted = [f for f in self.failures if f.rank == failure.rank or not self.each]
        if len(counted) > self.limit:
            whose = f" of rank {failure.rank}" if self.each else ""
            return self._end(f"{self.limit} restarts{whose} are used up")
        if self.fruitless > self.cycles:
            return self._end(f"{self.cycles} restarts in a row came to no step")
        return Restart(self._wait(failure), frozenset(self.excluded))

    def _wait(self, failure: Failure) -> float:
        """Doubles with each failure of this rank that came soon after the one before it."""
        times = [f.time for f in self.failures if f.rank == failure.rank]
        soon = 0
        for earlier, later in zip(times[-2::-1], times[:0:-1], strict=True):
            if later - earlier >= self.forget:
                break
            soon += 1
        return 0.0 if soon == 0 else min(self.first * 2 ** (soon - 1), self.longest)

    def _end(self, why: str) -> GiveUp:
        first, last = self.failures[0], self.failures[-1]
        told = f"{why}. {last}"
        if first != last:
            told = f"{why}. First, {first}. Last, {last}"
        return GiveUp(f"no further restart: {told}")
