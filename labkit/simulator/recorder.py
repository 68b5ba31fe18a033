"""What a simulation remembers of a run: events for the timeline, and a trace to compare and tell.

The trace has one entry for everything that happened, made of plain data; its hash says whether two
runs were the same run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Any

import msgspec

from labkit.events import DRIVER, Event
from labkit.faults import Fault, Heal, describe
from labkit.protocols.effects import Apply, Effect, Message, Persist, Record


class Entry(msgspec.Struct, frozen=True):
    """One thing that happened: `what` is start, crash, message, timer, send, fault, or an effect's
    name in lower case; `detail` is the message, the effect, or the fault."""

    time: float
    node: int
    what: str
    peer: int | None = None
    detail: Any = None


class Recorder:
    """Keeps `trace` (everything) and `events` (what the timeline draws)."""

    def __init__(self) -> None:
        self.trace: list[Entry] = []
        self.events: list[Event] = []
        self._role: dict[int, str] = {}  # of nodes whose protocol has roles
        self._flying: dict[int, list[str]] = {}  # by identity of the message: ids of its sends
        self._kept: list[Message] = []  # so that no identity is used twice

    def started(self, time: float, i: int, life: int, role: str | None = None) -> None:
        self.trace.append(Entry(time, i, "start", detail=life))
        self._event(time, i, life, "start")
        self._role.pop(i, None)
        if role is not None:
            self._event(time, i, life, "begin", role)

    def crashed(self, time: float, i: int, life: int) -> None:
        self.trace.append(Entry(time, i, "crash"))
        self._event(time, i, life, "death", signal="crash")

    def fault(self, time: float, fault: Fault) -> None:
        self.trace.append(Entry(time, DRIVER, "fault", detail=fault))
        if isinstance(fault, Heal):
            self._event(time, DRIVER, 0, "heal")
        else:
            self._event(time, DRIVER, 0, "fault", str(fault), **describe(fault))

    def fired(self, time: float, i: int, life: int, timer: str, key: Hashable) -> None:
        self.trace.append(Entry(time, i, "timer", detail=timer if key is None else (timer, key)))

    def sent(self, time: float, i: int, life: int, to: int, message: Message) -> None:
        self.trace.append(Entry(time, i, "send", to, message))
        name = type(message).__name__
        identity = f"{i}>{to}#{len(self.trace)}"
        self._flying.setdefault(id(message), []).append(identity)
        self._kept.append(message)
        self._event(time, i, life, "send", name, id=identity, peer=to, bytes=0)

    def received(self, time: float, i: int, life: int, sender: int, message: Message) -> None:
        self.trace.append(Entry(time, i, "message", sender, message))
        ids = [x for x in self._flying.get(id(message), []) if x.startswith(f"{sender}>{i}#")]
        if ids:
            name = type(message).__name__
            self._event(time, i, life, "receive", name, id=ids[0], peer=sender, bytes=0)

    def did(self, time: float, i: int, life: int, effect: Effect) -> None:
        self.trace.append(Entry(time, i, type(effect).__name__.lower(), detail=effect))
        if not isinstance(effect, Record):
            return
        self._event(time, i, life, effect.kind, effect.name, **effect.data)
        if effect.kind == "role":  # drawn as what the node is doing
            self._event(time, i, life, "end", self._role.get(i, "follower"))
            self._role[i] = effect.name.removeprefix("becomes ")
            self._event(time, i, life, "begin", self._role[i], **effect.data)

    def _event(
        self, time: float, i: int, life: int, kind: str, name: str = "", **data: Any
    ) -> None:
        self.events.append(Event(time, len(self.events), i, kind, name, life, data))

    def lines(self) -> list[bytes]:
        """One line of plain data for each entry: equal for equal runs, in any process."""
        encode = msgspec.json.Encoder(enc_hook=_plain).encode
        return [encode(entry) for entry in self.trace]

    def hash(self) -> str:
        return hashlib.sha256(b"\n".join(self.lines())).hexdigest()[:16]


def _plain(value: Any) -> Any:
    match value:
        case Persist():
            return value.values
        case Record():
            return [value.kind, value.name, value.data]
        case Apply():
            return [value.index, value.command]
        case _:
            raise TypeError(f"{value!r} cannot be part of a trace: use plain data")
