"""An interrupt (Ctrl-C, the notebook's stop button) ends the waiting for a run, and says so.

A blocked cell gets KeyboardInterrupt from Python. An awaited one gets CancelledError: ipykernel and
`asyncio.run` cancel the task when SIGINT comes. So does everybody who has a time-out, and theirs
must stay what it is; hence SIGINT is noted on its way.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from labkit.runtime.watch import at_work

if TYPE_CHECKING:
    from labkit.runtime.driver import Driver
    from labkit.runtime.run import Run


class Interrupted(KeyboardInterrupt, asyncio.CancelledError):
    """For the notebook a KeyboardInterrupt, which also ends "run all". For asyncio the cancellation
    that it is: a KeyboardInterrupt in a task beside the cell would end the kernel."""


Interrupted.__name__ = Interrupted.__qualname__ = KeyboardInterrupt.__name__  # as notebooks show it


class Interruptible:
    """`with Interruptible(driver, run):` around a wait. An interrupt leaves it with a sentence."""

    def __init__(self, driver: Driver, run: Run) -> None:
        self.driver, self.run, self.came = driver, run, False

    def __enter__(self) -> None:
        self.before = signal.getsignal(signal.SIGINT)
        # Signals are for the main thread; a handler that is not Python's cannot be called.
        self.listens = threading.current_thread() is threading.main_thread()
        self.listens = self.listens and callable(self.before)
        if self.listens:
            signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        assert callable(self.before)
        self.before(number, frame)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Another wait, or the next cell, may have put its own handler in the place of this one.
        if self.listens and signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, self.before)
        if isinstance(error, asyncio.CancelledError) and self.came:
            raise Interrupted(self._sentence()) from None
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(self._sentence()) from None

    def _sentence(self) -> str:
        ranks = at_work(self.driver, self.run) or "every rank at its end"
        state = "ends with its block" if self.driver.in_block else "is still usable"
        return (
            f"you have stopped waiting for run {self.run.number} of {self.run.name}, with {ranks}; "
            f"the cluster {state}: run the cell again"
        )
