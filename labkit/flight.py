"""A flight recorder: the last collectives of a group, as this rank called them.

All members of a group make the same calls in the same order, so the calls have numbers that agree.
When one does not end, the records of the ranks are laid side by side (`runtime/diagnosis.py`): the
first number at which they differ says who called what, and from which line. PyTorch's Flight
Recorder keeps the same fields (`torch.distributed.flight_recorder`).

Recording costs some microseconds a call and keeps no tensor alive. Without torch: the driver reads
these too.
"""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
import time
from collections import deque
from types import FrameType, NoneType

import msgspec

CAPACITY = 64
"""Calls that are kept: few are under way at once, the rest is the way that led there."""

_LABKIT = os.path.dirname(__file__) + os.sep
_OURS = tuple(
    _LABKIT + part
    for part in ("collectives" + os.sep, "runtime" + os.sep, os.path.join("training", "buckets.py"))
)
_LIBRARIES = ("<", *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))


class Place(msgspec.Struct, frozen=True):
    """A line of code; its text is empty where the file cannot be read."""

    file: str
    line: int
    function: str
    text: str = ""

    def __str__(self) -> str:
        name = os.path.basename(self.file)
        cell = not name or name.removesuffix(".py").isdigit()  # a notebook's cell has no name
        where = f"line {self.line}" if cell else f"{name}:{self.line}"
        return f"{where} in {self.function}" + (f" `{self.text}`" if self.text else "")


class Call(msgspec.Struct):
    """One collective as its caller asked for it; `what` is the same on all ranks if all is well."""

    number: int
    what: str  # such as "all_reduce(float32[1000], sum)"
    place: Place
    state: str = "queued"  # then started, completed, failed
    since: float = 0.0  # monotonic seconds of the last change; in a Record, how long ago it was

    def turn(self, state: str) -> None:
        self.state, self.since = state, time.monotonic()

    def told(self, now: float) -> Call:
        """A copy for others, with the text of its line."""
        return Call(self.number, self.what, with_text(self.place), self.state, now - self.since)


class FlightRecorder:
    """The last `CAPACITY` calls. The group's callers write, any thread may read."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=CAPACITY)

    def queued(self, number: int, what: str) -> Call:
        """A call that its caller makes just now."""
        call = Call(number, what, place_of(sys._getframe(1)), since=time.monotonic())
        self._calls.append(call)
        return call

    def calls(self) -> list[Call]:
        return list(self._calls)


def said(name: str, *arguments: object) -> str:
    """A call as it must be the same on all members: of a tensor its type and shape; pieces that
    only one of them has are left out."""
    words = [_word(argument) for argument in arguments if not isinstance(argument, list | NoneType)]
    return f"{name}({', '.join(words)})"


def _word(argument: object) -> str:
    if hasattr(argument, "dtype") and hasattr(argument, "shape"):
        return f"{str(argument.dtype).removeprefix('torch.')}{list(argument.shape)}"
    return str(argument)


def place_of(frame: FrameType | None) -> Place:
    """The innermost line that is neither a library's nor of what carries out a collective."""
    while frame is not None and _inner(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return Place("", 0, "?")
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def _inner(file: str) -> bool:
    return file.startswith(_OURS if file.startswith(_LABKIT) else _LIBRARIES)


def with_text(place: Place) -> Place:
    """With the line itself, read from its file: not before somebody wants to see it."""
    text = place.text or linecache.getline(place.file, place.line).strip()
    return msgspec.structs.replace(place, text=text)


class Record(msgspec.Struct, frozen=True):
    """What a rank says when it is asked what it is doing.

    `group` is its present one; `over` when its function has ended. `threads` has the line at which
    each of two threads is: "main", and "group", on which collectives run; `stacks` all that lies
    below. `idle` is in seconds since its last step.
    """

    rank: int
    group: str
    calls: list[Call]
    threads: dict[str, Place]
    over: bool
    stacks: str = ""
    step: int | None = None
    idle: float = 0.0
