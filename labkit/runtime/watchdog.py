"""A watchdog on progress: when no step is completed for long, the ranks say why.

The word that a collective is overdue comes from its own deadline. This looks at the steps, so it
also sees a loop that does not end and a lock that nobody releases, and it looks earlier: at half
of that deadline, when nothing is lost yet. (PyTorch's NCCL watchdog dumps the flight records of all
ranks likewise before it ends the job: TORCH_NCCL_DUMP_ON_TIMEOUT.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from labkit import events
from labkit.flight import Record
from labkit.runtime.diagnosis import diagnose
from labkit.runtime.inspect import Inspector
from labkit.runtime.loop import Loop, to_the_beat

TICK = 0.2


class Watchdog:
    """Runs on the host's loop and watches the steps that `inspector` is told of. It begins with the
    first step of a run: what comes before may take long. `tell` prints a sentence; the stacks of
    all ranks go to a file in `folder`."""

    def __init__(
        self, loop: Loop, inspector: Inspector, folder: Path, tell: Callable[[str], None]
    ) -> None:
        self.loop, self.inspector, self.folder, self.tell = loop, inspector, folder, tell
        self.seen = inspector.since
        self.quiet = 0.0  # seconds without a step, in which this process ran
        self.looked = time.monotonic()
        loop.call_later(TICK, self._look)

    def _look(self) -> None:
        self.loop.call_later(to_the_beat(TICK), self._look)
        now, inspector = time.monotonic(), self.inspector
        passed, self.looked = min(now - self.looked, 2 * TICK), now
        if inspector.over or inspector.step is None or inspector.since != self.seen:
            self.seen, self.quiet = inspector.since, 0.0
            return
        before, self.quiet = self.quiet, self.quiet + passed
        if before <= inspector.patience < self.quiet:  # once
            threading.Thread(target=self._ask, name="watchdog", daemon=True).start()

    def _ask(self) -> None:
        """All ranks ask, since any may be stuck; the lowest that answers tells."""
        inspector = self.inspector
        records = inspector.ask(inspector.members)
        busy = [rank for rank, record in records.items() if not record.over]
        if inspector.rank != min(busy, default=None):
            return
        verdict = diagnose(records, inspector.members, inspector.name)
        text = f"no step for {inspector.patience:g} s: {verdict}"
        events.record("note", text)
        (self.folder / f"hang{inspector.run}.txt").write_text(f"{text}\n\n{_stacks(records)}")
        self.tell(text + "\n")


def _stacks(records: dict[int, Record]) -> str:
    return "\n".join(f"rank {rank}\n{record.stacks}" for rank, record in records.items())
