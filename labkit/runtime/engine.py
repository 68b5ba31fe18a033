"""Engine 2: the classes of `labkit.protocols` in a real process, next to its training.

A node lives in the process's host loop: its timers are the loop's, its messages cross the host's
wire as datagrams (a cut or lossy link loses them), what it persists goes to a journal of its own.
The effects of a handler happen in the order in which they were yielded. While a `Persist` is on its
way to the disk, on a thread of the node's own, the effects behind it are held back and whatever
comes for the node waits; the loop goes on, and with it the beats of the failure detector and all
other nodes. A write that fails stops the process: it cannot know what is on its disk.

Faults may strike at the points engine.handle, engine.persist, engine.persisted and engine.send.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import msgspec

from labkit import events, faults
from labkit.disk import RealDisk
from labkit.protocols.codec import encode, message_decoder
from labkit.protocols.effects import (
    Apply,
    Broadcast,
    CancelTimer,
    Context,
    Effect,
    Message,
    Persist,
    Protocol,
    Record,
    Send,
    SetTimer,
    deliver,
    fire,
    found,
    start,
    stored_types,
)
from labkit.protocols.handled import Begun, Handled, HandledLog, Kind, digest
from labkit.protocols.journal import Codec, Journal
from labkit.runtime import wire
from labkit.runtime.loop import Loop, Timer, to_the_beat
from labkit.runtime.messages import Said
from labkit.view import Member

CLIENTS = 1000
"""Ids from here on are clients: 1000 + r and 2000 + r live in the process of rank r."""


class Task(NamedTuple):
    """Something for a node to handle, with what the log says of it."""

    act: Callable[[], list[Effect]]
    kind: Kind
    peer: int | None = None
    what: bytes = b""
    timer: tuple[tuple[str, Hashable], Timer] | None = None


class Engine:
    """The nodes of one process. `send(rank, said)` is the way to the others; `folder` has the disks
    and the logs of this cluster. All methods belong to the loop's thread."""

    def __init__(
        self, loop: Loop, me: Member, folder: Path, send: Callable[[int, Said], None]
    ) -> None:
        self.loop, self.me, self.folder, self.send = loop, me, folder, send
        self.trace_all = os.environ.get("LABKIT_TRACE") == "1"
        self.nodes: dict[tuple[str, int], Node] = {}

    def run(
        self,
        group: str,
        factory: Any,
        members: tuple[int, ...],
        trace: bool = True,
        id: int | None = None,
    ) -> Node:
        """Starts this rank's node: `group` is the name under which its peers know the protocol.
        With `trace`, or for every node if LABKIT_TRACE is 1, what it handles is written down. A
        client has an `id` of its own."""
        id = self.me.rank if id is None else id
        node = Node(self, group, id, factory, members, trace or self.trace_all)
        self.nodes[group, id] = node
        return node

    def deliver(self, said: Said) -> None:
        node = self.nodes.get((said.group, said.target))
        if node is not None:
            node.deliver(said.source, said.payload)

    def worked(self, count: int) -> None:
        """This rank's work has come so far: for nodes that tell others of it."""
        for node in self.nodes.values():
            node.hear("worked", count)

    def suspect(self, rank: int) -> None:
        """The connection to that process is closed."""
        for node in self.nodes.values():
            node.hear("suspect", rank)

    def trust(self, rank: int) -> None:
        """A connection to that process is open (again)."""
        for node in self.nodes.values():
            node.hear("trust", rank)

    def dispatch(self, said: Said) -> None:
        faults.point("engine.send")
        rank = said.target % CLIENTS
        if rank == self.me.rank:
            self.loop.call_soon(self.deliver, said)
        else:
            self.send(rank, said)


class Node:
    """One protocol in one process. `machine` is its object; None before its disk has been read, and
    after it has stopped."""

    def __init__(
        self,
        engine: Engine,
        group: str,
        id: int,
        factory: Any,
        members: tuple[int, ...],
        trace: bool,
    ) -> None:
        self.engine, self.group, self.id, self.factory = engine, group, id, factory
        self.members = members
        self.machine: Protocol | None = None
        self.on_apply: Callable[[Apply], None] = lambda apply: None
        self.on_record: Callable[[Record], None] = _record
        self.timers: dict[tuple[str, Hashable], Timer] = {}
        self._decode = message_decoder(factory).decode
        self._waiting: deque[Task] = deque()  # until the write under way is durable
        self._held: deque[Effect] = deque()  # the effects behind it
        self._writing = True
        self._acting = False  # on what stands in `_held` and `_waiting`
        self._folder = engine.folder / "disks" / f"{group}.{id}"
        self._codec = Codec(stored_types(factory))
        life = engine.me.life
        path = engine.folder / "handled" / f"{group}.{id}.{life}"
        self._log = HandledLog(path) if trace else None
        self._seed = f"{os.urandom(8).hex()}/{group}/{id}/{life}"
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        name = f"disk of {group} {id}"
        threading.Thread(target=self._write, name=name, daemon=True).start()

    # -- the disk's thread

    def _write(self) -> None:
        """Opens the journal, then does one job after the other. The first failure is the last."""
        loop = self.engine.loop
        try:
            self._journal = self._open()
            loop.call_soon(self._begin, self._codec.encode(self._journal.stored))
            while True:
                self._jobs.get()()
                loop.call_soon(self._written)
        except Exception as error:
            _fatal(f"{self.group} on rank {self.engine.me.rank} stops. {self._folder}: {error}")

    def _open(self) -> Journal:
        """In the first life of a rank a missing journal is a new one; later it is a lost disk."""
        new = self.engine.me.life == 0
        first = found(self.factory, self.id, self.members) if new else None
        return Journal(RealDisk(self._folder), types=stored_types(self.factory), first=first)

    def _persist(self, values: dict[str, Any]) -> None:
        faults.point("engine.persist")
        self._journal.append(values)
        faults.point("engine.persisted")

    # -- what comes in

    def _begin(self, stored: bytes) -> None:
        now, life = time.monotonic(), self.engine.me.life
        if self._log is not None:
            self._log.write(Begun(now, self.id, life, self.members, self._seed, stored))
        self.context = Context(now, self._seed)
        self.machine = self.factory(self.id, self.members, self.context, self._codec.decode(stored))
        self._waiting.appendleft(Task(partial(start, self.machine), "start"))
        self._written()

    def deliver(self, sender: int, payload: bytes) -> None:
        try:
            message: Message = self._decode(payload)
        except msgspec.MsgspecError:
            return wire.reject("malformed")
        self._take(Task(lambda: deliver(self._alive, sender, message), "message", sender, payload))

    def hear(self, kind: Kind, peer: int) -> None:
        """`on_suspect(peer)`, `on_trust(peer)` or `on_worked(count)`, where the protocol has it."""
        if hasattr(getattr(self.factory, "func", self.factory), f"on_{kind}"):
            self._take(Task(lambda: fire(self._alive, kind, peer), kind, peer))

    def _fire(self, timer: str, key: Hashable) -> None:
        act = partial(fire, self._alive, timer, key)
        what = b"" if self._log is None else encode((timer, key))
        self._take(Task(act, "timer", None, what, ((timer, key), self.timers[timer, key])))

    def _take(self, task: Task) -> None:
        self._waiting.append(task)
        self._go_on()

    # -- handling

    @property
    def _alive(self) -> Protocol:
        assert self.machine is not None, "a node that has stopped handles nothing"
        return self.machine

    def _go_on(self) -> None:
        """Lets the effects happen that are held back and handles what waits, until a write is under
        way. An effect may bring this node something else to handle, as a view does that leaves
        somebody out: that waits for its turn, or it would overtake a write."""
        if self._acting or self._writing:
            return
        self._acting = True
        try:
            while not self._writing and (self._held or self._waiting):
                if self._held:
                    self._perform()
                else:
                    self._handle(self._waiting.popleft())
        finally:
            self._acting = False

    def _handle(self, task: Task) -> None:
        if task.timer is not None:
            name, timer = task.timer
            if self.timers.get(name) is not timer:
                return None  # it ran out during a write, and was set anew or cancelled behind it
            del self.timers[name]
        if self.machine is None:
            return None
        faults.point("engine.handle")
        self.context.now = time.monotonic()
        try:
            effects = task.act()
        except Exception:
            return self.stop(traceback.format_exc())
        if self._log is not None:
            did = digest(effects)
            self._log.write(Handled(self.context.now, task.kind, task.peer, task.what, did))
        self._held.extend(effects)
        return None

    def _perform(self) -> None:
        while self._held:
            effect = self._held.popleft()
            match effect:
                case Send(to, message):
                    self._send(to, encode(message))
                case Broadcast(everybody, message):
                    payload = encode(message)
                    for to in everybody:
                        self._send(to, payload)
                case SetTimer(timer, after, key, periodic):
                    self._cancel((timer, key))
                    wait = to_the_beat(after) if periodic else after
                    act = partial(self._fire, timer, key)
                    self.timers[timer, key] = self.engine.loop.call_later(wait, act)
                case CancelTimer(timer, key):
                    self._cancel((timer, key))
                case Persist():
                    self._writing = True
                    self._jobs.put(partial(self._persist, effect.values))
                    return  # `_written` goes on
                case Record():
                    self.on_record(effect)
                case Apply():
                    self.on_apply(effect)

    def _send(self, to: int, payload: bytes) -> None:
        self.engine.dispatch(Said(self.group, self.id, to, payload))

    def _cancel(self, timer: tuple[str, Hashable]) -> None:
        if timer in self.timers:
            self.timers.pop(timer).cancel()

    def _written(self) -> None:
        self._writing = False
        self._go_on()

    def stop(self, why: str) -> None:
        """A handler raised: the node is over, what it shares its process with is not."""
        self.machine = None
        self._held.clear()
        for timer in list(self.timers):
            self._cancel(timer)
        text = f"{self.group} has stopped on rank {self.engine.me.rank}"
        events.record("note", text, error=why.strip().splitlines()[-1])
        os.write(2, f"{text}:\n{why}".encode())


def _record(record: Record) -> None:
    events.record(record.kind, record.name, **record.data)


def _fatal(text: str) -> None:
    """The end of this process: no effect that stands behind a failed write may happen."""
    os.write(2, f"{text}\n".encode())
    os._exit(1)
