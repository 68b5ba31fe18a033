"""What the driver knows of one rank."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from labkit.runtime import wire
from labkit.runtime.messages import Member
from labkit.runtime.run import Died
from labkit.view import View


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

    @property
    def member(self) -> Member:
        return Member(self.rank, self.life)

    def send(self, number: int) -> None:
        """A signal to its process, if that lives. A process that ended a moment ago is reported by
        the launcher soon."""
        if self.state == "dead" or self.pid is None:
            return
        self.state = {signal.SIGSTOP: "paused", signal.SIGCONT: "ready"}.get(
            signal.Signals(number), self.state
        )
        self.killed = self.killed or number == signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
