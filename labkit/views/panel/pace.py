"""Goodput while a run goes on: the steps that count, beside those that there would have been."""

from __future__ import annotations

from collections import deque
from statistics import median

from labkit.events import Event

CALM = 100
"""Steps whose pace is remembered."""
AFTER = 0.3
"""Seconds after a fault or a new view in which the pace is not that of an untroubled run."""


class Pace:
    """Of one run. A step counts once, however often it is done; `goodput(now)` is the share of the
    time since the first step that became progress, at most 1, None before three steps.

    The measure is `labkit.views.counted`'s; there all is known, here only what has been.
    """

    def __init__(self) -> None:
        self.begin: float | None = None
        self.done = 0  # different steps that some rank has completed
        self.trouble = -1.0
        self._last = 0.0
        self._best = -1
        self._calm: deque[float] = deque(maxlen=CALM)
        self._recent: deque[tuple[float, int]] = deque()
        self._lasting = False

    def take(self, event: Event) -> None:
        if event.kind == "step":
            self._step(event.time, event.data["step"])
        elif event.kind in ("fault", "view", "death", "heal", "lost"):
            self.trouble = event.time + AFTER
            self._lasting = event.kind == "fault" or (self._lasting and event.kind != "heal")

    def _step(self, time: float, step: int) -> None:
        if step <= self._best:
            return
        if self.begin is None:
            self.begin = time
        elif not (self._lasting or time < self.trouble) or len(self._calm) < 3:
            self._calm.append(time - self._last)
        self._best, self._last = step, time
        self.done += 1

    @property
    def pace(self) -> float | None:
        """Seconds of an untroubled step."""
        return median(self._calm) if len(self._calm) >= 3 else None

    def goodput(self, now: float, seconds: float | None = None) -> float | None:
        """Since the first step, or in the last `seconds`: ask for those at regular intervals."""
        pace = self.pace
        if pace is None or self.begin is None:
            return None
        if seconds is None:
            return min(1.0, self.done * pace / max(now - self.begin + pace, pace))
        self._recent.append((now, self.done))
        while len(self._recent) > 2 and self._recent[1][0] <= now - seconds:
            self._recent.popleft()
        since, before = self._recent[0]
        return min(1.0, (self.done - before) * pace / (now - since)) if now > since else None
