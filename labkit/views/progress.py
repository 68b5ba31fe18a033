"""One progress bar for everything that lasts over two seconds, wherever it runs.

In a notebook with somebody before it a widget, on a terminal a bar, both gone when the work is
done; in a log a plain line every few seconds. A notebook that is executed without a front end
(papermill, nbval, the build) shows nothing, so that two executions store the same outputs: such a
kernel is told that nobody can answer its questions (`allow_stdin`).
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, TextIO, TypeVar

T = TypeVar("T")

LINE_SECONDS = 5.0
"""Between two lines in a log."""


def progress(
    iterable: Iterable[T] | None = None,
    description: str = "",
    total: int | None = None,
    unit: str = "step",
    after: float = 0.0,
) -> Progress[T]:
    """`for x in progress(list, "reading"): …` or `with progress(total=9) as bar: bar.update(1)`.

    What is over within `after` seconds shows no bar.
    """
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)  # type: ignore[arg-type]
    return Progress(iterable, description, total, unit, after)


class Progress(Generic[T]):
    """Counts to `total` (None when it is not known); the bar appears on entering or iterating, or
    at the first update after `after` seconds."""

    def __init__(
        self,
        iterable: Iterable[T] | None,
        description: str,
        total: int | None,
        unit: str,
        after: float = 0.0,
    ) -> None:
        self.iterable, self.description, self.total, self.unit = iterable, description, total, unit
        self.n = 0
        self._due = time.monotonic() + after
        self._bar: Any = None

    def __enter__(self) -> Progress[T]:
        self._appear()
        return self

    def _appear(self) -> None:
        if self._bar is None and time.monotonic() >= self._due:
            self._due = float("inf")
            self._bar = _bar(surroundings(), self.description, self.total, self.unit)
            if self._bar is not None:
                self._bar.update(self.n)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            # In a notebook tqdm leaves a bar that has not reached its total, in red; here it goes
            # away like any other, since what went wrong is told by the exception.
            self._bar.total = self._bar.n
            self._bar.close()
            self._bar = None

    def __iter__(self) -> Iterator[T]:
        if self.iterable is None:
            raise TypeError("nothing to go through: progress(things), or `with progress(total=n)`")
        with self:
            for item in self.iterable:
                yield item
                self.update()

    def update(self, n: int = 1) -> None:
        """`n` more are done; less than none when work was thrown away."""
        if self._bar is not None:
            self._bar.update(n)
        self.n += n
        self._appear()

    def to(self, n: int) -> None:
        """`n` are done in all."""
        self.update(n - self.n)

    def set_description(self, text: str) -> None:
        self.description = text
        if self._bar is not None:
            self._bar.set_description(text)


def surroundings() -> str:
    """Who is watching: "notebook", "terminal", "log", or "nobody"."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive else None
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        if not getattr(kernel, "_allow_stdin", True):
            return "nobody"
        return "notebook" if importlib.util.find_spec("ipywidgets") else "log"
    return "terminal" if sys.stderr.isatty() else "log"


def _bar(where: str, description: str, total: int | None, unit: str) -> Any:
    if where == "nobody":
        return None
    if where == "log":
        return Lines(description, total, unit)
    if where == "notebook":
        from tqdm.notebook import tqdm
    else:
        from tqdm.std import tqdm
    return tqdm(total=total, desc=description, unit=f" {unit}", leave=False, dynamic_ncols=True)


class Lines:
    """tqdm's verbs as lines of a log: one every few seconds, none for what is quicker than that."""

    def __init__(
        self, description: str, total: int | None, unit: str, file: TextIO | None = None
    ) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.file = file or sys.stderr
        self.n = 0
        self.begin = self.said = time.monotonic()
        self.told = 0  # how many there were in the last line

    def update(self, n: int = 1) -> None:
        self.n += n
        now = time.monotonic()
        if now - self.said >= LINE_SECONDS:
            self._say(now)

    def _say(self, now: float) -> None:
        self.said, self.told = now, self.n
        of = f" of {self.total}" if self.total else ""
        plural = "" if self.n == 1 and not self.total else "s"
        name = f"{self.description}: " if self.description else ""
        line = f"{name}{self.n}{of} {self.unit}{plural}, {now - self.begin:.0f} s"
        print(line, file=self.file, flush=True)

    def set_description(self, text: str) -> None:
        self.description = text

    def close(self) -> None:
        """A log keeps what it has said; a last line only where there was one that said less."""
        if self.said > self.begin and self.n != self.told:
            self._say(time.monotonic())
