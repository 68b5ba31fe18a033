"""One thread, one selector, timers: the event loop of the driver and of every worker's host.

Handlers are short and never block. Everything that a loop owns (connections, timers) is touched by
its own thread only; other threads hand work over with `call_soon`.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Timer:
    """A call in the future; `cancel` makes it not happen."""

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when, self.call, self.cancelled = when, call, False

    def cancel(self) -> None:
        self.cancelled = True


def to_the_beat(period: float) -> float:
    """Seconds from now to the multiple of `period` that is nearest to the end of one.

    What is done once in a period is done together then, by all processes of a machine: each wakes
    for its own beat and for those of the others at once. Four ranks and a witness at work need half
    as many wake-ups, and 1.7 % of two cores less. Linux rounds its timers likewise
    (`round_jiffies`); and what disturbs a parallel program costs it less when it comes everywhere
    at the same time (F. Petrini et al., "The Case of the Missing Supercomputer Performance", SC
    2003).
    """
    now = time.monotonic()
    return round((now + period) / period) * period - now


class Loop:
    """`on_error(text)` gets the traceback of a handler that raised; the loop goes on."""

    def __init__(self, name: str, on_error: Callable[[str], None] | None = None) -> None:
        self.on_error = on_error or (lambda text: None)
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._soon: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._woken = False
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._watched: dict[Any, Callable[[int], Any]] = {}
        self._looks: list[Callable[[], None]] = []
        self._masks: dict[Any, int] = {}
        self.watch(self._wake_in, self._drain_wakeups)
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Ends the loop's thread and waits for it; what was handed over before still runs."""

        def halt() -> None:
            self._stopping = True

        self.call_soon(halt)
        if self.thread.is_alive() and threading.current_thread() is not self.thread:
            self.thread.join()

    def call_soon(self, call: Callable[..., Any], *args: Any) -> None:
        """Runs `call(*args)` on the loop's thread, in the order of the calls. Any thread."""
        self._soon.append(lambda: call(*args))
        if not self._woken:
            self._woken = True
            # A full buffer means that a wake-up is under way; a closed one, that the loop is over.
            with contextlib.suppress(OSError):
                self._wake_out.send(b"\0")

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Runs `call` after `seconds`. The loop's thread only."""
        timer = Timer(time.monotonic() + seconds, call)
        heapq.heappush(self._timers, (timer.when, next(self._order), timer))
        return timer

    def call(self, call: Callable[[], T], timeout: float = 10.0) -> T:
        """Runs `call` on the loop's thread and returns its result. Any thread but the loop's."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(call())
            except BaseException as error:
                done.set_exception(error)

        self.call_soon(run)
        return done.result(timeout)

    def watch(self, file: Any, call: Callable[[int], Any], write: bool = False) -> None:
        """Calls `call(mask)` whenever `file` can be read (or written, with `write`)."""
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        if file not in self._watched:
            self._selector.register(file, mask)
        elif self._masks[file] != mask:  # the kernel is told only what is new to it
            self._selector.modify(file, mask)
        self._watched[file], self._masks[file] = call, mask

    def before_timers(self, look: Callable[[], None]) -> None:
        """Calls `look()` whenever a timer is due, before it runs: it reads what wakes nobody."""
        self._looks.append(look)

    def unwatch(self, file: Any) -> None:
        if self._watched.pop(file, None) is not None:
            del self._masks[file]
            self._selector.unregister(file)

    def _run(self) -> None:
        while not self._stopping:
            self._hear(self._until_next_timer())
            self._run_soon()
            if self._timers and self._timers[0][0] <= time.monotonic():
                # This thread may have waited for a core, or for the interpreter: what has come
                # meanwhile is read before a timer takes it for silence.
                self._hear(0)
                for look in self._looks:
                    self._guarded(look)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                timer = heapq.heappop(self._timers)[2]
                if not timer.cancelled:
                    self._guarded(timer.call)
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    def _hear(self, seconds: float | None) -> None:
        """Waits so long for what comes, and handles it."""
        for key, mask in self._selector.select(seconds):
            call = self._watched.get(key.fileobj)  # none, when an earlier handler closed it
            if call is not None:
                self._guarded(call, mask)

    def _until_next_timer(self) -> float | None:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        if self._soon:
            return 0
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _run_soon(self) -> None:
        self._woken = False
        for _ in range(len(self._soon)):
            self._guarded(self._soon.popleft())

    def _guarded(self, call: Callable[..., Any], *args: Any) -> None:
        try:
            call(*args)
        except Exception:
            text = traceback.format_exc()
            with contextlib.suppress(Exception):  # whatever becomes of it, the loop goes on
                self.on_error(text)

    def _drain_wakeups(self, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_in.recv(4096)
