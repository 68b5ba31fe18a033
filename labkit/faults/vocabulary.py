"""The fault vocabulary, as plain data: what can be injected, and when.

A *fault* is injected, a *failure* is observed. The same words are verbs of a live cluster
(`cluster.kill(2)`) and entries of a `FaultPlan`, which needs no hands and is therefore repeatable:

    FaultPlan(At(Kill(2), step=10), At(Pause(1, seconds=1.0), point="all_reduce"))
"""

from __future__ import annotations

from typing import Any

import msgspec

LEADER = -2
"""In place of a rank: whoever leads when the fault strikes. In the simulator only."""


class _Fault(msgspec.Struct, frozen=True, tag=True, tag_field="fault"):
    """Base of all faults: immutable, comparable, printable as the code that makes it."""

    def __str__(self) -> str:
        values = [f"{f}={getattr(self, f)!r}" for f in self.__struct_fields__]
        return f"{type(self).__name__}({', '.join(v for v in values if not v.endswith('=None'))})"


class Kill(_Fault, frozen=True):
    """SIGKILL: the process ends between two instructions and says nothing."""

    rank: int


class Pause(_Fault, frozen=True):
    """SIGSTOP: the process stands still and keeps its sockets open; SIGCONT after `seconds`. Of
    pauses that overlap the longest counts; `Resume` ends them all."""

    rank: int
    seconds: float | None = None


class Resume(_Fault, frozen=True):
    """SIGCONT."""

    rank: int


class Restart(_Fault, frozen=True):
    """A new process takes the rank; the old one, if it lives, is killed."""

    rank: int


class Slow(_Fault, frozen=True):
    """A straggler: compute at named points takes `factor` times as long, beats stay on time."""

    rank: int
    factor: float


class HoldGIL(_Fault, frozen=True):
    """A thread keeps the interpreter's lock, as a pathological regular expression or a C extension
    does: the process lives, and none of its other threads runs. For `seconds`, or for ever."""

    rank: int
    seconds: float | None = None


class Preempt(_Fault, frozen=True):
    """SIGTERM, as from a cloud that takes its machine back; SIGKILL `grace` seconds later."""

    rank: int
    grace: float = 30.0


class PoisonGradient(_Fault, frozen=True):
    """One element of the rank's next gradient becomes `value`, or NaN (which JSON does not know,
    and which is not equal to itself)."""

    rank: int
    value: float | None = None


class CorruptWeights(_Fault, frozen=True):
    """Silent corruption: bit number `bit` of one of the rank's weights flips before its next step.
    (23 is the lowest bit of a float32's exponent.)"""

    rank: int
    bit: int = 23


class Partition(_Fault, frozen=True):
    """Nothing passes between the groups; inside a group all is well."""

    groups: tuple[tuple[int, ...], ...]


class Cut(_Fault, frozen=True):
    """One way only: what `source` sends to `target` does not arrive."""

    source: int
    target: int


class Delay(_Fault, frozen=True):
    """What `source` sends to `target` arrives `seconds` later."""

    source: int
    target: int
    seconds: float


class Drop(_Fault, frozen=True):
    """Each message from `source` to `target` is lost with this probability."""

    source: int
    target: int
    probability: float


class Bandwidth(_Fault, frozen=True):
    """The link from `source` to `target` carries `rate` bytes a second, and no more."""

    source: int
    target: int
    rate: float


class LinkDown(_Fault, frozen=True):
    """The cable of the rank's host is out: nobody hears of it any more, not even that it is gone.
    For `seconds`, or until `LinkUp`."""

    rank: int
    seconds: float | None = None


class LinkUp(_Fault, frozen=True):
    """The cable is back."""

    rank: int


class Duplicate(_Fault, frozen=True):
    """Each message from `source` to `target` arrives twice with this probability."""

    source: int
    target: int
    probability: float


class CrashAt(_Fault, frozen=True):
    """The power fails inside the next handler that has more than `effects` effects, after so many
    of them. The node loses all that is not on its disk."""

    rank: int
    effects: int


class LostWrite(_Fault, frozen=True):
    """From now on the disk says that it has synced, and has not: the next crash shows it."""

    rank: int


class DiskError(_Fault, frozen=True):
    """The next write fails (no space, or EIO from fsync): the node stops."""

    rank: int


class WipeDisk(_Fault, frozen=True):
    """The node crashes, and its disk is empty when it comes back."""

    rank: int


class Revive(_Fault, frozen=True):
    """All the dead come back, with what is on their disks."""


class Drift(_Fault, frozen=True):
    """The node's clock runs at `rate` times the true speed from now on."""

    rank: int
    rate: float


class Heal(_Fault, frozen=True):
    """Every link and every speed is as before. The dead stay dead."""


SimulatedOnly = Duplicate | CrashAt | LostWrite | DiskError | WipeDisk | Revive | Drift
"""They need a clock and a disk that obey: no real cluster injects them."""

RealOnly = HoldGIL | Preempt | PoisonGradient | CorruptWeights
"""They need a process, or tensors: the simulator has neither."""

NeedsHosts = Bandwidth | LinkDown | LinkUp
"""They need ranks on hosts of their own."""

OfLinks = Partition | Cut | Delay | Drop | Bandwidth
"""Where ranks have hosts of their own the network does them, else the sender keeps to them."""

Fault = (
    (Kill | Pause | Resume | Restart | Slow | Partition | Cut | Delay | Drop | Heal)
    | SimulatedOnly
    | RealOnly
    | NeedsHosts
)


def describe(fault: Fault) -> dict[str, Any]:
    """What the event of an injected fault carries: its plain data and the ranks it concerns."""
    match fault:
        case Partition(groups):
            ranks = [rank for group in groups for rank in group]
        case (
            Cut(source, target)
            | Delay(source, target)
            | Drop(source, target)
            | Duplicate(source, target)
            | Bandwidth(source, target)
        ):
            ranks = [source, target]
        case Heal() | Revive():
            ranks = []
        case _:
            ranks = [fault.rank]
    return {"fault": msgspec.to_builtins(fault), "ranks": ranks}


class At(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a fault strikes: `seconds` after the run's start, at a training `step`, or at a `point`.

    At a step or a point, the rank that gets there strikes: the fault's own rank, or `on` where the
    fault has none. `count` is the how-manieth visit of the point.
    """

    fault: Fault
    seconds: float | None = None
    step: int | None = None
    point: str | None = None
    count: int = 1
    on: int | None = None

    def __post_init__(self) -> None:
        if sum(x is not None for x in (self.seconds, self.step, self.point)) != 1:
            raise ValueError(f"say when {self.fault} strikes: one of seconds=, step=, point=")

    @property
    def striker(self) -> int | None:
        """The rank whose progress decides the moment; None when the clock does."""
        if self.seconds is not None:
            return None
        return self.on if self.on is not None else getattr(self.fault, "rank", 0)


class FaultPlan:
    """What, whom, when: a list of `At`, in any order."""

    def __init__(self, *entries: At) -> None:
        self.entries = entries

    def __repr__(self) -> str:
        return f"FaultPlan({', '.join(map(repr, self.entries))})"
