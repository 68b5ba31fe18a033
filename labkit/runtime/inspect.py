"""What every rank is doing, asked for and answered by the hosts while the training threads hang.

A host answers from its own thread: neither a collective that does not end nor an endless loop in
the main thread keeps it from doing so. Only where the interpreter's lock is held, or the process
stands still, is there no answer; the launcher then has `faulthandler` (`stacks.py`).
"""

from __future__ import annotations

import faulthandler
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from pathlib import Path
from traceback import format_stack
from typing import TYPE_CHECKING, Any

from labkit.flight import Place, Record, place_of, with_text
from labkit.runtime.diagnosis import diagnose
from labkit.runtime.messages import Inspect

if TYPE_CHECKING:
    from labkit.collectives.group import Group

ANSWER_SECONDS = 1.0
"""A host that has its interpreter's lock answers within milliseconds; a busy machine may take
hundreds of them."""


def dump_file(folder: str | Path, rank: int, life: int) -> Path:
    """Where `faulthandler` writes the stacks of this process when it gets SIGUSR1."""
    return Path(folder) / f"stacks{rank}.{life}.txt"


def dump_on_signal(folder: str, rank: int, life: int) -> None:
    """From now on, also while the interpreter's lock is held. The main thread only."""
    file = dump_file(folder, rank, life).open("ab", buffering=0)  # stays open with the process
    faulthandler.register(signal.SIGUSR1, file, all_threads=True)


class Inspector:
    """Of one rank: `send(rank, message)` is its line to the others."""

    def __init__(self, rank: int, send: Callable[[int, Any], Any]) -> None:
        self.rank, self.send = rank, send
        self.group: Group | None = None
        self.run, self.patience = 0, math.inf
        self.members: tuple[int, ...] = ()
        self.over = True
        self.stepped(None)
        self._asked: list[dict[int, Future[Record]]] = []

    # -- what the training thread says

    def begin(self, run: int, members: tuple[int, ...], patience: float) -> None:
        """The function of this run begins here; no step should take longer than `patience`."""
        self.run, self.members, self.patience = run, members, patience
        self.group, self.over = None, False
        self.stepped(None)

    def end(self) -> None:
        """It is over; what it did is kept for those who ask why they hang."""
        self.over = True

    def watch(self, group: Group) -> None:
        self.group, self.members = group, group.members

    def stepped(self, step: int | None) -> None:
        self.step, self.since = step, time.monotonic()

    # -- asking

    def explain(self) -> str:
        """Why the present group does not go on. Any thread but the host's."""
        members, name = self.members, self.name
        return diagnose(self.ask(members), members, name)

    def ask(self, members: Sequence[int]) -> dict[int, Record]:
        """The records of those who answer, and this rank's own. Any thread but the host's."""
        asked: dict[int, Future[Record]] = {r: Future() for r in members if r != self.rank}
        self._asked.append(asked)
        for rank in asked:
            self.send(rank, Inspect())
        wait_for(asked.values(), ANSWER_SECONDS)
        self._asked.remove(asked)
        records = {rank: future.result() for rank, future in asked.items() if future.done()}
        return dict(sorted({**records, self.rank: self.record()}.items()))

    # -- answering; the host's thread

    def answered(self, record: Record) -> None:
        for asked in self._asked:
            if record.rank in asked and not asked[record.rank].done():
                asked[record.rank].set_result(record)

    def record(self) -> Record:
        """What this rank is doing now. Any thread."""
        group, now = self.group, time.monotonic()
        threads, stacks = self._threads(group)
        calls = [] if group is None else [call.told(now) for call in group.flight.calls()]
        idle = now - self.since
        return Record(self.rank, self.name, calls, threads, self.over, stacks, self.step, idle)

    @property
    def name(self) -> str:
        """What all ranks call their present group."""
        return f"run {self.run}, {'no group yet' if self.group is None else self.group.view}"

    def _threads(self, group: Group | None) -> tuple[dict[str, Place], str]:
        frames = sys._current_frames()
        ours = {} if self.over else {"main": threading.main_thread()}
        if group is not None:
            ours["group"] = group.thread
        at = {name: frames.get(thread.ident or 0) for name, thread in ours.items()}
        present = {name: frame for name, frame in at.items() if frame is not None}
        stacks = [f"{n} thread:\n" + "".join(format_stack(f)) for n, f in present.items()]
        places = {name: with_text(place_of(frame)) for name, frame in present.items()}
        return places, "\n".join(stacks)
