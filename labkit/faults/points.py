"""The named places where a planned fault may strike, and the work that a `Slow` fault stretches."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType

from labkit import events
from labkit.faults.in_force import conditions
from labkit.faults.vocabulary import At, Fault


class Armed:
    """The part of a plan that this rank strikes itself, and how it strikes. Any thread may come to
    a point while another one is striking."""

    def __init__(self, entries: tuple[At, ...] = (), strike: Callable[[Fault], None] = print):
        self.waiting = list(entries)
        self.strike = strike
        self.visits: Counter[str] = Counter()
        self.last_step: int | None = None
        self._lock = threading.Lock()

    def reach(self, point: str | None = None, step: int | None = None) -> None:
        if self.waiting:
            for entry in self._due(point, step):
                self.strike(entry.fault)

    def _due(self, point: str | None, step: int | None) -> list[At]:
        """What strikes here, and does not wait any more."""
        with self._lock:
            steps = self._passed(step) if step is not None else ()
            due = [entry for entry in self.waiting if entry.step in steps]
            if point is not None:
                self.visits[point] += 1
                here = point, self.visits[point]
                due += [entry for entry in self.waiting if (entry.point, entry.count) == here]
            self.waiting = [entry for entry in self.waiting if entry not in due]
            return due

    def _passed(self, step: int) -> Sequence[int]:
        """The steps since the last one: a rank that was behind when the group was formed anew takes
        the state of the others, and passes over one. What a new life finds done is not its own."""
        begin = step if self.last_step is None else min(step, self.last_step + 1)
        self.last_step = step
        return range(begin, step + 1)


armed = Armed()


def arm(entries: tuple[At, ...], strike: Callable[[Fault], None]) -> None:
    """Sets the faults that wait in this process, in place of any earlier ones."""
    global armed
    armed = Armed(entries, strike)


def point(name: str) -> None:
    """A named place where a planned fault may strike; without one it costs a comparison."""
    armed.reach(point=name)


def step(number: int) -> None:
    """This rank has got to that step of its training."""
    armed.reach(step=number)


class work:
    """A slice of computing that a `Slow` fault stretches: `with work("computing", step=3): …`.

    The stretch is a sleep after the block, so that the process's other threads are not slowed.
    Afterwards `seconds` says how long it took.
    """

    seconds = 0.0

    def __init__(self, name: str = "computing", **data: object) -> None:
        self.span = events.span(name, **data)

    def __enter__(self) -> work:
        self.span.__enter__()
        self.begin = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        factor = conditions.slowness(events.current().rank)
        if factor > 1 and kind is None:
            time.sleep((factor - 1) * (time.monotonic() - self.begin))
        self.seconds = time.monotonic() - self.begin
        self.span.__exit__(kind, error, trace)
