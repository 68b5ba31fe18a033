"""What the simulator knows of one node, beside what the protocol's own object holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Any

from labkit.protocols.effects import Context, Protocol
from labkit.simulator.storage import Storage

Factory = Callable[..., Protocol]
"""A `Protocol` class, or a `functools.partial` that binds its settings."""


class Node:
    """`machine` is the protocol's object while the node lives; `life` counts its starts."""

    def __init__(self, i: int, factory: Factory, storage: Storage, seed: str) -> None:
        self.i, self.factory, self.storage, self.seed = i, factory, storage, seed
        self.life = -1
        self.checked = True  # by the invariants
        self.state: Any = None  # what they look at, when they last looked
        self.machine: Protocol | None = None
        self.context = Context()
        self.draw = random.Random(f"{seed}/network/{i}")
        self.timers: dict[tuple[str, Hashable], list[float | None]] = {}  # deadline, queued at
        self.paused_until = 0.0  # by its longest pause; 0 when it is not paused
        self.resumed = 0.0  # when it last went on
        self.held: list[tuple[Callable[..., None], Any, Any]] = []  # what waits until it goes on
        self.crash_after: int | None = None  # effects, in the next handler that has more
        self.rate, self.drifts = 1.0, False  # of its clock, and whether it ever was another
        self.rate_since = (0.0, 0.0)  # true and local time of the last change of the rate

    @property
    def paused(self) -> bool:
        return self.paused_until > 0.0

    def clock(self, now: float) -> float:
        true, local = self.rate_since
        return local + self.rate * (now - true)

    def set_rate(self, now: float, rate: float) -> None:
        self.rate_since = now, self.clock(now)
        self.rate, self.drifts = rate, True
