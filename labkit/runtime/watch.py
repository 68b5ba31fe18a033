"""Waiting for a run: its ranks' output, its progress, and an end to the waiting."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from labkit.views.progress import progress

if TYPE_CHECKING:
    from labkit.runtime.driver import Driver
    from labkit.runtime.run import Run

BAR_AFTER = 2.0
"""Seconds after which waiting deserves a progress bar."""
_LONGEST_SLICE = 1.0


class Watch:
    """`look()` is called a few times a second by whoever waits, in the waiter's own thread.

    Time counts only while this process runs: a laptop's sleep counts as one second at most.
    """

    def __init__(self, driver: Driver, run: Run, timeout: float | None, aim: str) -> None:
        self.driver, self.run, self.timeout, self.aim = driver, run, timeout, aim
        self.waited = self.silent = 0.0
        self.last_look = time.monotonic()
        self.last_news = run.news
        self.bar: Any = None

    def __enter__(self) -> Watch:
        self.driver.console.waiting += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.driver.console.waiting -= 1
        self.driver.console.show()
        if self.bar is not None:
            self.bar.__exit__(None, None, None)

    def look(self) -> None:
        """Shows what is new. Raises TimeoutError when the waiting has to end."""
        self.driver.console.show()
        now = time.monotonic()
        passed = min(now - self.last_look, _LONGEST_SLICE)
        self.last_look = now
        self.waited += passed
        self.silent = 0.0 if self.run.news > self.last_news else self.silent + passed
        self.last_news = self.run.news
        if self.run.total_steps:
            self._progress(self.run.total_steps)
        if self.timeout is not None and self.waited > self.timeout:
            raise TimeoutError(f"{self._who()} {self.aim} within {self.timeout:g} s")
        if self.timeout is None and self.silent > self.driver.patience:
            raise TimeoutError(
                f"{self._who()} {self.aim}, and no rank has been heard for "
                f"{self.driver.patience:g} s: wait(timeout=…) waits longer, cancel() ends the run"
            )

    def _progress(self, total: int) -> None:
        if self.bar is None:
            self.bar = progress(total=total, description=self.run.name, after=BAR_AFTER)
            self.bar.__enter__()
        self.bar.to(min((self.run.steps.get(r, 0) for r in self.run.waiting), default=total))

    def _who(self) -> str:
        raised = "".join(f"{error}; then " for error in self.run.errors.values())
        who = at_work(self.driver, self.run)
        return f"{raised}{who} of run {self.run.number} of {self.run.name} did not come"


def at_work(driver: Driver, run: Run) -> str:
    """What the ranks that have not ended the run are doing, in words."""
    seats = (driver.seats[rank] for rank in sorted(run.waiting))
    return ", ".join(
        f"rank {s.rank} ({s.state}"
        + (f", in {s.doing}" if s.doing else "")
        + (f", step {s.step})" if s.step is not None else ")")
        for s in seats
    )
