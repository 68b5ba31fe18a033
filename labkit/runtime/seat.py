"""What the driver knows of one rank."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from labkit.runtime import wire
from labkit.runtime.run import Died
from labkit.view import Member, View


@dataclass
class Seat:
    """What the driver knows of one rank in its present life."""

    rank: int
    life: int = 0
    state: str = "starting"  # then ready, paused, dead
    pid: int | None = None
    host: str = ""
    address: tuple[str, int] | None = None
    connection: wire.Connection | None = None
    view: View = field(default_factory=lambda: View(0, ()))
    clock: int = 0
    step: int | None = None
    doing: str = ""
    file: Path | None = None
    died: Died | None = None
    killed: bool = False  # by this driver
    replaced: bool = False  # its rank is about to have another life

    witness: bool = False

    @property
    def name(self) -> str:
        return "the witness" if self.witness else f"rank {self.rank}"

    @property
    def member(self) -> Member:
        return Member(self.rank, self.life)

    def send(self, number: int) -> None:
        """A signal to its process, if that lives. Call it with the driver's lock, under which the
        state changes. A process that ended a moment ago is reported by the launcher soon."""
        if self.state == "dead" or self.pid is None:
            return
        if number == signal.SIGSTOP:
            self.state = "paused"
        elif number == signal.SIGCONT:
            self.state = "ready"
        self.killed = self.killed or number == signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
