"""What the ranks print, line by line with the rank in front."""

from __future__ import annotations

import threading
from collections import deque

KEPT_LINES = 200


class Console:
    """Lines are printed as they come; while someone waits for a run, by the waiting thread, because
    a notebook shows what is printed in the cell whose thread prints it."""

    def __init__(self) -> None:
        self.waiting = 0  # threads that look at runs
        self._printing = threading.Lock()
        self.last_words: deque[str] = deque(maxlen=KEPT_LINES)
        self._lines: deque[str] = deque()

    def take(self, rank: int | None, line: str) -> None:
        """What mpiexec says when ranks die is for the text of an error alone: the lab says it
        better."""
        if rank is None:
            return self.last_words.append(line)
        text = f"[rank {rank}] {line}" if rank >= 0 else f"[spare] {line}"
        self.last_words.append(text)
        self._lines.append(text)
        if not self.waiting:
            self.show()

    def show(self) -> None:
        with self._printing:
            while self._lines:
                print(self._lines.popleft(), flush=True)
