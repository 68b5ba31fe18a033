"""When to write a checkpoint: each rule is asked after every step, with the step and the time.

A clock is not the same on all ranks: where many decide, one decides for all (the coordinator), or
they use rules that look at the step alone.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import NamedTuple, Protocol


class Moment(NamedTuple):
    """After `step` steps, at `time` (seconds, monotonic), with these metrics."""

    step: int
    time: float
    metrics: Mapping[str, float] = {}


class Policy(Protocol):
    """`wants` is asked after each step; `saved` is told of each checkpoint, whoever wanted it:
    when it began, and for how many seconds training stood still and the disk was busy."""

    def wants(self, now: Moment) -> bool: ...

    def saved(self, when: Moment, stall: float, duration: float) -> None: ...


class Rule:
    """A policy that remembers when the last checkpoint was."""

    last: Moment | None = None

    def saved(self, when: Moment, stall: float, duration: float) -> None:
        self.last = when


@dataclass
class EverySteps(Rule):
    steps: int

    def wants(self, now: Moment) -> bool:
        return now.step - (self.last.step if self.last else 0) >= self.steps


@dataclass
class EverySeconds(Rule):
    """Counted from the first step that it sees."""

    seconds: float

    def wants(self, now: Moment) -> bool:
        self.last = self.last or now
        return now.time - self.last.time >= self.seconds


@dataclass
class OnImprovement(Rule):
    """When `metric` is smaller than ever, or larger."""

    metric: str = "loss"
    largest: bool = False
    best: float = math.inf

    def wants(self, now: Moment) -> bool:
        if self.metric not in now.metrics:
            return False
        value = now.metrics[self.metric] * (-1 if self.largest else 1)
        improved = value < self.best
        if improved:
            self.best = value
        return improved


@dataclass
class YoungDaly(Rule):
    """The interval that loses least, √(2 · cost · mtbf), from the measured cost of the last one.

    `mtbf` is the job's mean time between failures, in seconds; the first checkpoint comes after
    `first` seconds. The cost is the stall alone where the write goes on in the background, and no
    interval is shorter than that write. (Young 1974, Daly 2006: `labkit.reliability.young_daly`.)
    """

    mtbf: float
    first: float = 10.0
    interval: float = 0.0

    def wants(self, now: Moment) -> bool:
        self.last = self.last or now
        return now.time - self.last.time >= (self.interval or self.first)

    def saved(self, when: Moment, stall: float, duration: float) -> None:
        from labkit.reliability.young_daly import young_interval

        self.last = when
        self.interval = max(float(young_interval(stall, self.mtbf)), duration)


class OnSignal(Rule):
    """When the process is told to end (SIGTERM: a preemption notice). It only takes a note in the
    handler; the checkpoint is written at the next safe point. The main thread makes it."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        self.received = False
        self.before = signal.signal(number, self._note)
        self.number = number

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def wants(self, now: Moment) -> bool:
        return self.received and (self.last is None or self.last.step != now.step)

    def close(self) -> None:
        signal.signal(self.number, self.before)


class AnyOf:
    """As soon as one of them wants; all are asked, since asking lets them see the metrics."""

    def __init__(self, *policies: Policy) -> None:
        self.policies = policies

    def wants(self, now: Moment) -> bool:
        wanted = [policy.wants(now) for policy in self.policies]
        return any(wanted)

    def saved(self, when: Moment, stall: float, duration: float) -> None:
        for policy in self.policies:
            policy.saved(when, stall, duration)
