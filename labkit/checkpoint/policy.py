"""When to write a checkpoint: each rule is asked after every step, with the step and the time.

A clock is not the same on all ranks, and a checkpoint of many is one only if all write it: where
many decide, all write when any of them wants to (`labkit.training.durable`).
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from labkit.checkpoint.store import Store


class Moment(NamedTuple):
    """After `step` steps, at `time` (seconds, monotonic), with these metrics."""

    step: int
    time: float
    metrics: Mapping[str, float] = {}


class Policy(Protocol):
    """`wants` is asked after each step; `saved` is told of each checkpoint, whoever wanted it:
    when it began, for how many seconds training stood still, and after how many it was durable.
    An `urgent` one is not put off because another is still being written."""

    @property
    def urgent(self) -> bool: ...

    def wants(self, now: Moment) -> bool: ...

    def saved(self, when: Moment, stall: float, duration: float) -> None: ...


class Rule:
    """A policy that remembers when the last checkpoint was."""

    last: Moment | None = None

    @property
    def urgent(self) -> bool:
        return False

    def saved(self, when: Moment, stall: float, duration: float) -> None:
        self.last = when


@dataclass
class EverySteps(Rule):
    """At each multiple of `steps`, or the first chance after it: many ranks come to want the same
    step, also one that joins late, and one whose last checkpoint failed."""

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a checkpoint every {self.steps} steps: use 1 or more")

    def wants(self, now: Moment) -> bool:
        self.last = self.last or now._replace(step=now.step - 1)
        return now.step // self.steps > self.last.step // self.steps


@dataclass
class EverySeconds(Rule):
    """Counted from the first step that it sees."""

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"a checkpoint every {self.seconds} seconds: use a number above 0")

    def wants(self, now: Moment) -> bool:
        self.last = self.last or now
        return now.time - self.last.time >= self.seconds


@dataclass
class OnImprovement(Rule):
    """When `metric` is smaller than in any checkpoint so far, or larger; also than in those of an
    earlier life (`remind`)."""

    metric: str = "loss"
    largest: bool = False
    best: float = math.inf

    def wants(self, now: Moment) -> bool:
        return self._of(now.metrics) < self.best

    def saved(self, when: Moment, stall: float, duration: float) -> None:
        super().saved(when, stall, duration)
        self.remember(when.metrics)

    def remember(self, metrics: Mapping[str, float]) -> None:
        self.best = min(self.best, self._of(metrics))  # which it stays where the other is NaN

    def _of(self, metrics: Mapping[str, float]) -> float:
        value = metrics.get(self.metric, math.nan)
        return -value if self.largest else value


@dataclass
class YoungDaly(Rule):
    """The interval that loses least, √(2 · cost · time between failures), as both are measured.

    `mtbf` is the job's mean time between failures, in seconds, as far as it is known before: it
    counts like one failure after so long, and those that are seen like it, so that the mean is
    (mtbf + seconds seen) / (1 + failures seen), a Gamma prior's. The first checkpoint comes after
    `first` seconds. The cost is that of the last one, the stall alone where the write goes on in
    the background, and no interval is shorter than that write. (Young 1974, Daly 2006:
    `labkit.reliability.young_daly`.)
    """

    mtbf: float
    first: float = 10.0
    interval: float = 0.0
    failures: int = 0
    began: float | None = None  # when it was first asked
    cost: tuple[float, float] | None = None  # stall and duration of the last one, in seconds

    def __post_init__(self) -> None:
        if not self.mtbf > 0:
            raise ValueError(f"a mean time between failures of {self.mtbf} s: use one above 0")

    def wants(self, now: Moment) -> bool:
        self.last = self.last or now
        self.began = now.time if self.began is None else self.began
        return now.time - self.last.time >= (self.interval or self.first)

    def saved(self, when: Moment, stall: float, duration: float) -> None:
        super().saved(when, stall, duration)
        self.cost = stall, duration
        self._choose(when.time)

    def failed(self, time: float) -> None:
        """Somebody has died, or a host is lost; at this time, in seconds, monotonic."""
        self.failures += 1
        self._choose(time)

    def _choose(self, now: float) -> None:
        from labkit.reliability.young_daly import young_interval

        if self.cost is not None:
            stall, duration = self.cost
            seen = now - (now if self.began is None else self.began)
            mtbf = (self.mtbf + seen) / (1 + self.failures)
            self.interval = max(float(young_interval(stall, mtbf)), duration)


class OnSignal(Rule):
    """When the process is told to end (SIGTERM: a preemption notice). It only takes a note in the
    handler; the checkpoint is written at the next safe point. The main thread makes it."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        self.received = False
        self.before = signal.signal(number, self._note)
        self.number = number

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    @property
    def urgent(self) -> bool:
        return self.received

    def wants(self, now: Moment) -> bool:
        return self.received and (self.last is None or self.last.step != now.step)

    def close(self) -> None:
        signal.signal(self.number, self.before)


def policy_of(every: int | Policy) -> Policy:
    """What a caller may say in place of a rule: a number of steps. Raises ValueError."""
    if isinstance(every, int):
        return EverySteps(every)
    if not hasattr(every, "wants"):
        raise ValueError(f"every={every!r}: a number of steps, or a rule of {__name__}")
    return every


class AnyOf:
    """As soon as one of them wants; all are asked, since some count from what they are asked."""

    def __init__(self, *policies: Policy) -> None:
        self.policies = policies

    @property
    def urgent(self) -> bool:
        return any(policy.urgent for policy in self.policies)

    def wants(self, now: Moment) -> bool:
        wanted = [policy.wants(now) for policy in self.policies]
        return any(wanted)

    def saved(self, when: Moment, stall: float, duration: float) -> None:
        for policy in self.policies:
            policy.saved(when, stall, duration)


def remind(policy: Policy, store: Store) -> None:
    """Tells the rules that compare with earlier checkpoints of those in the folder."""
    for rule in rules(policy):
        if isinstance(rule, OnImprovement):
            for made in store.manifests():
                rule.remember(made.metrics)


def report_failure(policy: Policy, time: float) -> None:
    """Tells the rules that count failures of one, at this time in seconds, monotonic."""
    for rule in rules(policy):
        if isinstance(rule, YoungDaly):
            rule.failed(time)


def rules(policy: Policy) -> Iterator[Policy]:
    """All that it is made of."""
    if isinstance(policy, AnyOf):
        for one in policy.policies:
            yield from rules(one)
    else:
        yield policy
