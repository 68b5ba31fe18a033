"""`Run`: the handle of a function that runs on all ranks, and what became of it on each."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cloudpickle

from labkit.events import Event
from labkit.faults import FaultPlan
from labkit.runtime.interrupt import Interruptible
from labkit.runtime.watch import Watch
from labkit.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labkit.runtime.driver import Driver

_SLICE = 0.1
HARMLESS = ("PeerLost", "Cancelled", "RunOver")
"""What a function may raise because others died or ended, without a mistake of its own."""


@dataclass(frozen=True)
class Died:
    """The process of a rank ended: by `signal` (its name, or what else is to blame), or by itself
    with exit code `code`."""

    rank: int
    signal: str | None
    code: int | None
    step: int | None

    def __str__(self) -> str:
        how = f"by {self.signal}" if self.signal else f"with exit code {self.code}"
        if self.signal is None and self.code is None:
            how = "for an unknown reason"
        when = "before its first step" if self.step is None else f"after step {self.step}"
        return f"rank {self.rank} ended {how} {when}"


@dataclass(frozen=True)
class Raised:
    """The function raised an exception on a rank."""

    rank: int
    kind: str
    message: str
    trace: str
    step: int | None
    packed: bytes | None = field(default=None, repr=False)

    @property
    def exception(self) -> BaseException | None:
        """The exception itself; None when it cannot be sent, or its class does not exist here."""
        try:
            return None if self.packed is None else cloudpickle.loads(self.packed)
        except Exception:
            return None

    def __str__(self) -> str:
        at = "" if self.step is None else f" after step {self.step}"
        return f"rank {self.rank} raised {self.kind}{at}: {self.message}"


class RunError(RuntimeError):
    """The function raised something else than PeerLost on at least one rank."""


def how_it_ended(code: int | None) -> tuple[str | None, int | None]:
    """The signal's name, or else the exit code, of an exit code as subprocess has it."""
    if code is not None and code < 0:
        return signal.Signals(-code).name, None
    return None, code


class Run:
    """`await run` or `run.wait()`; then `results`, `deaths`, `errors` by rank, and `timeline()`.

    A run is over when every rank has returned, raised or died: a dead rank leaves partial results,
    and so does PeerLost in the survivors. Any other exception of the function is raised by waiting,
    with the worker's whole traceback.
    """

    def __init__(
        self, driver: Driver, number: int, ranks: tuple[int, ...], name: str, view: View
    ) -> None:
        self.number, self.name = number, name
        self.view = view  # in which it began
        self.plan = FaultPlan()
        self.call = ""  # what starts another one like it
        self.waiting = frozenset(ranks)
        self.deaths: dict[int, Died] = {}
        self._results: dict[int, Any] = {}
        self._errors: dict[int, Raised] = {}
        self._packed: dict[int, bytes] = {}
        self.steps: dict[int, int] = {}
        self.total_steps: int | None = None
        self.cancelled = False
        self.started = time.monotonic()
        self.news = self.started  # when anything was last heard from a rank
        self.changed = threading.Condition()
        self.keep: Any = None  # the cluster, which must not be collected while the run goes on
        self._driver = driver
        self._events: list[Event] = []

    def __repr__(self) -> str:
        if not self.done:
            return f"<run {self.number} of {self.name}: waiting for ranks {sorted(self.waiting)}>"
        counts = [
            f"{len(outcome)} {word}"
            for outcome, word in (
                (self.results, "returned"),
                (self.errors, "raised"),
                (self.deaths, "died"),
            )
            if outcome
        ]
        return f"<run {self.number} of {self.name}: {', '.join(counts)}>"

    @property
    def done(self) -> bool:
        return not self.waiting

    @property
    def results(self) -> dict[int, Any]:
        """What the function returned, by rank."""
        self._unpack()
        return self._results

    @property
    def errors(self) -> dict[int, Raised]:
        """What it raised, by rank."""
        self._unpack()
        return self._errors

    def _unpack(self) -> None:
        """In the thread of whoever asks: the first tensor imports torch, which takes a second."""
        with self.changed:
            packed, self._packed = self._packed, {}
        for rank, result in sorted(packed.items()):
            try:
                self._results[rank] = cloudpickle.loads(result)
            except Exception as error:
                text = f"its result cannot be unpickled here: {error}"
                self._errors[rank] = Raised(rank, type(error).__name__, text, text, None)

    @property
    def events(self) -> list[Event]:
        """Everything that happened since the run's start, ordered by time."""
        with self.changed:
            return sorted(self._events, key=lambda e: e.time)

    # -- waiting

    def wait(self, timeout: float | None = None) -> Run:
        """Blocks until the run is over, showing the ranks' output and progress.

        Raises RunError when the function raised, TimeoutError after `timeout` seconds. Without a
        time-out it waits as long as there is news: when nothing has been heard from any rank for
        the cluster's `patience` it raises TimeoutError too, which names the silent ranks.
        """
        with Interruptible(self._driver, self):
            self._watch(lambda: self.done, timeout, "to its end")
            return self._outcome()

    def wait_step(self, step: int, timeout: float | None = None) -> Run:
        """Blocks until every rank that is still running has reported `step`, or the run is over."""
        with Interruptible(self._driver, self):
            self._watch(lambda: self._reached(step), timeout, f"to step {step}")
        return self

    def __await__(self) -> Generator[Any, None, Run]:
        yield from self._watched(lambda: self.done, "to its end").__await__()
        return self._outcome()

    def step(self, step: int) -> Awaitable:
        """`await run.step(10)`: like `wait_step`, without blocking the notebook's kernel."""
        return Awaitable(lambda: self._watched(lambda: self._reached(step), f"to step {step}"))

    def cancel(self) -> None:
        """Interrupts the function on every rank; a rank that does not stop is restarted."""
        self._driver.cancel(self)

    def _reached(self, step: int) -> bool:
        return all(self.steps.get(rank, -1) >= step for rank in self.waiting)

    def _watch(self, ready: Callable[[], bool], timeout: float | None, aim: str) -> None:
        watch = Watch(self._driver, self, timeout, aim)
        with watch:
            while not ready():
                watch.look()
                with self.changed:
                    self.changed.wait_for(ready, _SLICE)

    async def _watched(self, ready: Callable[[], bool], aim: str) -> Run:
        watch = Watch(self._driver, self, None, aim)
        with Interruptible(self._driver, self), watch:
            while not ready():
                watch.look()
                await asyncio.sleep(_SLICE / 2)
        return self

    def _outcome(self) -> Run:
        self._driver.console.show()
        wrong = [e for e in self.errors.values() if e.kind not in HARMLESS]
        if wrong:
            first = min(wrong, key=lambda e: e.rank)
            others = f" ({len(wrong) - 1} other ranks raised too)" if len(wrong) > 1 else ""
            raise RunError(f"{first}{others}\n\n{first.trace}")
        return self

    # -- what the driver's thread reports

    def add(self, events: list[Event]) -> None:
        with self.changed:
            # What a rank did before, that it was started for instance, may have been on its way.
            events = [event for event in events if event.time >= self.started]
            self._events += events
            for event in events:
                if event.kind == "step":
                    self.steps[event.rank] = event.data["step"]
                elif event.kind == "total":
                    self.total_steps = event.data["steps"]
            self.news = time.monotonic()
            self.changed.notify_all()

    def lose(self, rank: int, death: Died) -> None:
        """The rank died, and a new life of it is to go on with the run."""
        with self.changed:
            if rank not in self.waiting:
                return
            self.deaths[rank] = death
            self.steps.pop(rank, None)
            self.news = time.monotonic()
            self.changed.notify_all()

    def rejoin(self, rank: int) -> bool:
        """A new life of the rank takes part; False when the run is over."""
        with self.changed:
            if self.done or self.cancelled:
                return False
            self.waiting = self.waiting | {rank}
            return True

    def end(self, rank: int, outcome: Died | Raised | bytes) -> None:
        """What became of the run on `rank`: Died, Raised, or the pickled value that it returned."""
        with self.changed:
            if rank not in self.waiting:
                return
            self.waiting = self.waiting - {rank}  # others iterate over it without the lock
            if isinstance(outcome, Died):
                self.deaths[rank] = outcome
            elif isinstance(outcome, Raised):
                self._errors[rank] = outcome
            else:
                self._packed[rank] = outcome
            if self.done:
                self.keep = None
            self.news = time.monotonic()
            self.changed.notify_all()

    # -- pictures

    def timeline(self, around: Any = None, **options: Any) -> Figure:
        """What every rank did, when: see `labkit.views.timeline.timeline`."""
        from labkit.views.timeline import timeline

        return timeline(self.events, around=around, **options)

    def panel(self, present: bool = False) -> Any:
        """The run to scrub through in a notebook: a slider, and who knew what at that time."""
        from labkit.views.panel.finished import FinishedPanel

        title, view = f"run {self.number}: {self.name}", self.view
        return FinishedPanel(self.events, title, present, view.number, view.members)

    def write_chrome_trace(self, path: str) -> None:
        """For chrome://tracing or https://ui.perfetto.dev."""
        from labkit.views.chrome import write_chrome_trace

        write_chrome_trace(path, self.events)


class Awaitable:
    """Something that can be awaited more than once."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, None, Any]:
        return self._make().__await__()
