"""Primary and backups, with promotion (P. Alsberg and J. Day, "A Principle for Resilient Sharing of
Distributed Resources", ICSE 1976), in views as in Viewstamped Replication (B. Liskov and
J. Cowling, "Viewstamped Replication Revisited", MIT-CSAIL-TR-2012-021).

The primary puts commands in order and sends them to the backups; when enough copies are durable it
executes and answers. A backup that hears nothing for a time-out proposes the next view, whose
primary is the next member in turn. The new primary takes over the best log of a majority. A member
that has promised itself to a view takes nothing from the primary of an older one: that is the fence
without which a primary that is only slow would go on, beside its successor.

How many copies there are when the client is answered is a setting: all of them (synchronous), a
majority, or the primary's own (asynchronous: what the backups lack dies with the primary).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Struct

from labkit.protocols.clients import Answer, Ask
from labkit.protocols.effects import (
    Apply,
    Broadcast,
    CancelTimer,
    Context,
    Effects,
    Message,
    Persist,
    Protocol,
    Record,
    Send,
    SetTimer,
    Splice,
    Stored,
)
from labkit.protocols.raft.machine import Get, Put, execute

NORMAL, VIEW_CHANGE = "normal", "view-change"


class Entry(Struct, frozen=True):
    """A command of the log, and whose it is."""

    client: int
    serial: int
    command: Get | Put


class Prepare(Message, frozen=True):
    """Entries from number `start` on; none is a sign of life. All up to `commit` are executed."""

    view: int
    start: int
    entries: tuple[Entry, ...]
    commit: int


class PrepareOk(Message, frozen=True):
    """All entries up to number `op` are on my disk."""

    view: int
    op: int


class StartViewChange(Message, frozen=True):
    view: int


class DoViewChange(Message, frozen=True):
    """To the primary of `view`: this is my log, and `last_normal` the view that it is of."""

    view: int
    last_normal: int
    log: tuple[Entry, ...]
    commit: int


class GetState(Message, frozen=True):
    """What came after my entry number `op`?"""

    view: int
    op: int


class NewState(Message, frozen=True):
    """The log of `view` from number `start` on: the paper's StartView, and its NewState."""

    view: int
    start: int
    entries: tuple[Entry, ...]
    commit: int


class PrimaryBackup(Protocol):
    """`copies` are durable before the client is answered, a majority unless said otherwise. Of a
    time-out T in seconds, a backup waits between T and 2T; the primary sends every T/3."""

    stored_types: ClassVar[Mapping[str, Any]] = {"log": Entry}

    def __init__(
        self,
        me: int,
        members: tuple[int, ...],
        context: Context,
        stored: Mapping[str, Any],
        *,
        copies: int | None = None,
        timeout: float = 0.15,
    ) -> None:
        super().__init__(me, members, context, stored)
        self.majority = len(members) // 2 + 1
        self.copies, self.timeout = copies or self.majority, timeout
        # Persistent state: a promise to `view`, and a log that is the one of view `last_normal`
        self.view: int = stored.get("view", 0)
        self.last_normal: int = stored.get("last_normal", 0)
        self.log: list[Entry] = list(stored["log"].items) if "log" in stored else []
        # Volatile state
        self.status = NORMAL if self.view == self.last_normal else VIEW_CHANGE
        self.serials = {entry.client: entry.serial for entry in self.log}  # the last of each client
        self.commit = 0  # as many entries are executed
        self.values: dict[str, Any] = {}
        # Volatile state of a primary
        self.durable = dict.fromkeys(members, 0)  # how many entries each member has on its disk
        self.waiting: set[int] = set()  # the numbers of the entries whose clients wait for me
        # Volatile state of a primary to be
        self.changes: dict[int, DoViewChange] = {}

    @property
    def leads(self) -> bool:
        return self.status == NORMAL and self.primary == self.me

    @property
    def primary(self) -> int:
        return self.members[self.view % len(self.members)]

    def on_start(self) -> Effects:
        if self.leads:
            yield from self.on_beat()
            yield from self.count(self.me, len(self.log))
        else:
            yield self.patience()

    # -- messages: normal operation (§4.1)

    def on_ask(self, client: int, m: Ask) -> Effects:
        if m.local and isinstance(m.command, Get):  # as this copy knows it
            value = self.values.get(m.command.key)
            yield Send(client, Answer(m.serial, True, value, stamp=(self.commit, self.view)))
        elif self.leads and m.serial <= self.serials.get(client, 0):
            return  # it came twice, or the client has given it up
        elif self.leads:
            # A read takes its place in the log, too: by the copies that it gets the primary
            # learns that it still is one.
            entry = Entry(client, m.serial, m.command)
            yield from self.append(len(self.log) + 1, (entry,))
            self.waiting.add(len(self.log))
            yield Broadcast(self.peers, Prepare(self.view, len(self.log), (entry,), self.commit))
            yield from self.count(self.me, len(self.log))
        elif self.status == NORMAL:
            yield Send(client, Answer(m.serial, False, elsewhere=self.primary))

    def on_prepare(self, primary: int, m: Prepare) -> Effects:
        if m.view < self.view:
            return  # the fence: that primary has been replaced
        yield self.patience()
        if m.view > self.view or self.status != NORMAL:
            yield Send(primary, GetState(m.view, 0))  # mine may be another log
            return
        if m.start > len(self.log) + 1:
            yield Send(primary, GetState(m.view, len(self.log)))
        else:
            yield from self.append(m.start, m.entries)
            yield Send(primary, PrepareOk(self.view, len(self.log)))
        yield from self.execute_up_to(m.commit)

    def on_prepare_ok(self, backup: int, m: PrepareOk) -> Effects:
        if m.view == self.view and self.leads:
            yield from self.count(backup, m.op)

    # -- messages: a new view (§4.2), and members that have missed something (§5.2)

    def on_start_view_change(self, member: int, m: StartViewChange) -> Effects:
        if m.view > self.view:
            yield from self.start_view_change(m.view)

    def on_do_view_change(self, member: int, m: DoViewChange) -> Effects:
        if m.view > self.view:
            yield from self.start_view_change(m.view)
        if m.view == self.view and self.status == VIEW_CHANGE:
            self.changes[member] = m
            if len(self.changes) >= self.majority:
                yield from self.start_view()

    def on_get_state(self, member: int, m: GetState) -> Effects:
        if self.leads and m.view == self.view:
            entries = tuple(self.log[m.op :])
            yield Send(member, NewState(self.view, m.op + 1, entries, self.commit))

    def on_new_state(self, primary: int, m: NewState) -> Effects:
        entering = m.view > self.view or self.status != NORMAL
        if m.view < self.view or (entering and m.start > 1):
            return
        if entering:
            yield from self.enter(m.view, m.entries)
        else:
            yield from self.append(m.start, m.entries)
        yield self.patience()
        yield Send(primary, PrepareOk(self.view, len(self.log)))
        yield from self.execute_up_to(m.commit)

    # -- timers

    def on_silence(self) -> Effects:
        """Nothing was heard of the primary, or of the view change, for a whole time-out."""
        yield from self.start_view_change(self.view + 1)

    def on_beat(self) -> Effects:
        """Also brings up whoever lost an entry: it asks for the state, or says what it has."""
        if self.leads:
            nothing = Prepare(self.view, len(self.log) + 1, (), self.commit)
            yield Broadcast(self.peers, nothing)
            yield SetTimer("beat", self.timeout / 3)

    # -- transitions

    def start_view_change(self, view: int) -> Effects:
        self.view, self.status, self.changes, self.waiting = view, VIEW_CHANGE, {}, set()
        # The promise must outlive a crash: an older primary gets no more copies from here.
        yield Persist(view=view)
        yield Record("role", "leaves for the next view", view=view)
        yield self.patience()
        yield Broadcast(self.peers, StartViewChange(view))
        mine = DoViewChange(view, self.last_normal, tuple(self.log), self.commit)
        if self.primary != self.me:
            yield Send(self.primary, mine)
        else:
            yield from self.on_do_view_change(self.me, mine)

    def start_view(self) -> Effects:
        """The best log of a majority: the one of the latest view, and of those the longest."""
        best = max(self.changes.values(), key=lambda m: (m.last_normal, len(m.log)))
        commit = max(m.commit for m in self.changes.values())
        yield from self.enter(self.view, best.log)
        yield Record("role", "becomes primary", view=self.view)
        yield CancelTimer("silence")
        yield Broadcast(self.peers, NewState(self.view, 1, tuple(self.log), commit))
        self.durable = dict.fromkeys(self.members, 0)
        yield from self.on_beat()
        yield from self.execute_up_to(commit)
        yield from self.count(self.me, len(self.log))

    def enter(self, view: int, log: tuple[Entry, ...]) -> Effects:
        """The log of `view` takes the place of mine, in one write with the view."""
        if tuple(self.log[: self.commit]) != log[: self.commit]:
            self.commit, self.values = 0, {}  # only if fewer copies than a majority were enough
        self.view = self.last_normal = view
        self.log, self.status, self.waiting = list(log), NORMAL, set()
        self.serials = {entry.client: entry.serial for entry in log}
        yield Persist(view=view, last_normal=view, log=Stored(1, self.log))

    # -- helpers

    def append(self, start: int, entries: tuple[Entry, ...]) -> Effects:
        """What of `entries` is new, from number `start` on, and durable before it is counted."""
        new = entries[len(self.log) + 1 - start :]
        if new:
            yield Persist(log=Splice(len(self.log) + 1, new))
            self.log += new
            self.serials |= {entry.client: entry.serial for entry in new}

    def count(self, member: int, op: int) -> Effects:
        """Executes what has as many copies as were asked for."""
        self.durable[member] = max(self.durable[member], op)
        enough = sorted(self.durable.values(), reverse=True)[self.copies - 1]
        yield from self.execute_up_to(enough)

    def execute_up_to(self, commit: int) -> Effects:
        while self.commit < min(commit, len(self.log)):
            self.commit += 1
            entry = self.log[self.commit - 1]
            command = entry.command
            self.values[command.key], result = execute(self.values.get(command.key), command)
            yield Apply(self.commit, command)
            if self.commit in self.waiting:
                self.waiting.remove(self.commit)
                answer = Answer(entry.serial, True, result, stamp=(self.commit, self.view))
                yield Send(entry.client, answer)

    def patience(self) -> SetTimer:
        return SetTimer("silence", self.timeout * (1 + self.context.random.random()))
