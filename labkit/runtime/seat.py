"""What the driver knows of one rank."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from labkit.flight import Record
from labkit.runtime import wire
from labkit.runtime.clocks import HostClock
from labkit.runtime.run import Died
from labkit.view import Member, View

Signal = Callable[[str, int, int], None]
"""Called with a host, the pid of a process there, and the signal's number."""


@dataclass
class Seat:
    """What the driver knows of one rank in its present life."""

    rank: int
    deliver: Signal
    life: int = 0
    state: str = "starting"  # then ready, paused, dead
    pid: int | None = None
    host: str = ""
    address: tuple[str, int] | None = None
    connection: wire.Connection | None = None
    host_clock: HostClock = field(default_factory=HostClock)
    view: View = field(default_factory=lambda: View(0, ()))
    clock: int = 0
    step: int | None = None
    doing: str = ""
    file: Path | None = None
    died: Died | None = None
    record: Record | None = None  # what it said last when asked what it is doing
    slow: float = 1.0  # times as long as the others, as it says itself
    stands_until: float = 0.0  # when the last of its pauses ends, on the monotonic clock
    killed: bool = False  # by this driver
    replaced: bool = False  # its rank is about to have another life

    heard: float = 0.0  # when it last said anything, on the monotonic clock
    term: int | None = None  # of the vote on views, and who leads it: as a `Pong` has it
    leader: int | None = None

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
            self.deliver(self.host, self.pid, number)


class Seats(dict[int, Seat]):
    """By rank; the witness's comes after the last rank. Ask under the driver's lock."""

    def __init__(self, world_size: int, deliver: Signal) -> None:
        super().__init__({rank: Seat(rank, deliver) for rank in range(world_size)})
        self[world_size] = Seat(world_size, deliver, witness=True)

    def living(self) -> tuple[int, ...]:
        """The ranks that are not dead."""
        return tuple(s.rank for s in self.values() if s.state != "dead" and not s.witness)

    def agree(self) -> bool:
        """Whether all that live have installed one view of them all, and nobody is on the way."""
        if any(s.replaced or (s.killed and s.state != "dead") for s in self.values()):
            return False
        if any(s.witness and s.state == "starting" for s in self.values()):
            return False
        living = self.living()
        views = {self[rank].view for rank in living}
        return views == {View(max(v.number for v in views), living)} if views else True

    def who_is_missing(self) -> str:
        """What to say and to do when they do not come to agree."""
        states = ", ".join(f"{seat.name} {seat.state}" for seat in self.values())
        dead = [str(seat.rank) for seat in self.values() if seat.state == "dead"]
        advice = "Resume or restart the one that stands still, or heal() the links"
        if dead:
            advice = f"They may be too few to agree: cluster.restart({', '.join(dead)})"
        return f"{states}. {advice}"
