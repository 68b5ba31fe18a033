"""What a register on R and W of N promises (Q), and what a primary with its backups does (V).

They see every disk and every message, and remember the whole history.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.clients import Answer, Ask
from labkit.protocols.effects import Apply, Stored
from labkit.protocols.primary_backup import DoViewChange, Entry, Prepare, PrepareOk
from labkit.protocols.raft.machine import Get, execute, notices
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.linearizability import check
from labkit.simulator.simulation import Simulation

Stamp = tuple[int, int]


class Linearizable(Invariant):
    """Locality makes it cheap: each key is searched alone."""

    name, title = "C-S1", "what clients see is linearizable"

    def finished(self, sim: Simulation) -> None:
        asking = [node for i, node in sim.nodes.items() if i not in sim.members]
        verdict = check(
            [call for node in asking for call in node.history], execute, notices=notices
        )
        if not verdict:
            raise Violation(self, verdict.reason)


# -- a register on R and W of N


class NeverStale(Invariant):
    """Of R + W > N: regular reads in L. Lamport's sense ("On Interprocess Communication", 1986)."""

    name, title = "Q-S1", "a read returns the last acknowledged write, or a newer one"
    watches = (Ask, Answer)
    by = "acknowledged"

    def __init__(self) -> None:
        self.newest: dict[str, Stamp] = {}  # by key
        self.calls: dict[tuple[int, int], tuple[Ask, Stamp]] = {}  # by client and serial

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if isinstance(m, Ask):
            bound = self.newest.get(m.command.key, (0, -1))
            self.calls.setdefault((i, m.serial), (m, bound))
            return
        ask, bound = self.calls[to, m.serial]
        if isinstance(ask.command, Get) and m.stamp < bound:
            raise Violation(
                self,
                f"rank {i} answers client {to}'s {ask.command} with version {m.stamp}; when it was "
                f"asked, version {bound} had been {self.by}",
            )
        if self.counts(ask):
            key = ask.command.key
            self.newest[key] = max(m.stamp, self.newest.get(key, (0, -1)))

    def counts(self, ask: Ask) -> bool:
        return not isinstance(ask.command, Get)


class NeverBack(NeverStale):
    """Atomic reads: what one read has returned, no later one misses. Needs repair *before*."""

    name, title = "Q-S2", "no read goes back behind another"
    by = "returned"

    def counts(self, ask: Ask) -> bool:
        return True


class EnoughCopies(Invariant):
    name, title = "Q-S3", "an acknowledged write is on W disks"
    watches = (Ask, Answer)

    def __init__(self) -> None:
        self.keys: dict[tuple[int, int], str] = {}  # of writes, by client and serial

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if isinstance(m, Ask):
            if not isinstance(m.command, Get):
                self.keys[i, m.serial] = m.command.key
        elif key := self.keys.get((to, m.serial)):
            disks = {j: sim.on_disk(j).get("registers", {}) for j in sim.members}
            holders = [j for j, has in disks.items() if key in has and has[key].stamp >= m.stamp]
            if len(holders) < sim.node(i).writes:
                raise Violation(
                    self,
                    f"rank {i} acknowledges version {m.stamp} of {key!r}, which is on the disks of "
                    f"{holders}; W is {sim.node(i).writes}",
                )


class OneValue(Invariant):
    name, title = "Q-S4", "a version names one value, and no disk goes back to an older one"

    def __init__(self) -> None:
        self.values: dict[tuple[str, Stamp], Any] = {}
        self.last: dict[tuple[int, str], Stamp] = {}  # by node and key

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        for key, version in values.get("registers", {}).items():
            known = self.values.setdefault((key, version.stamp), version.value)
            if known != version.value:
                raise Violation(
                    self,
                    f"rank {i} writes {version.value!r} as version {version.stamp} of {key!r}, "
                    f"which was {known!r}",
                )
            if version.stamp < self.last.get((i, key), (0, -1)):
                raise Violation(
                    self,
                    f"rank {i} writes version {version.stamp} of {key!r} over version "
                    f"{self.last[i, key]}",
                )
            self.last[i, key] = version.stamp


# -- a primary and its backups


class OneOrder(Invariant):
    name, title = "V-S1", "all execute the same commands in the same order"

    def __init__(self) -> None:
        self.commands: dict[int, Any] = {}

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        known = self.commands.setdefault(apply.index, apply.command)
        if known != apply.command:
            raise Violation(
                self,
                f"rank {i} executes {apply.command} as number {apply.index}, where another "
                f"executed {known}",
            )


class NothingLost(Invariant):
    """Whichever came first, the acknowledgement or the new view."""

    name, title = "V-S2", "what was acknowledged is in every later view"
    watches = (Answer,)

    def __init__(self) -> None:
        self.acknowledged: dict[int, tuple[int, Entry]] = {}  # by number: the view, the entry
        self.views: dict[int, list[Entry]] = {}  # the log with which each began

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        entry = entry_of(sim, i, to, m)
        if entry is None:
            return
        view, number = sim.node(i).view, m.stamp[0]
        self.acknowledged.setdefault(number, (view, entry))
        for later, log in self.views.items():
            if later > view:
                self.compare(later, log, number)

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        view = values.get("last_normal")
        if view is not None and sim.members[view % sim.n] == i:
            log = values["log"]
            assert isinstance(log, Stored)
            self.views[view] = list(log.items)
            for number, (earlier, _) in self.acknowledged.items():
                if earlier < view:
                    self.compare(view, self.views[view], number)

    def compare(self, view: int, log: list[Entry], number: int) -> None:
        earlier, entry = self.acknowledged[number]
        there = log[number - 1] if number <= len(log) else None
        if there != entry:
            raise Violation(
                self,
                f"{entry.command} of client {entry.client} was acknowledged in view {earlier} as "
                f"number {number}; view {view} began with {there and there.command} there",
            )


class EnoughBackups(Invariant):
    name, title = "V-S3", "what is acknowledged has enough copies on disks"
    watches = (Answer,)

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        entry = entry_of(sim, i, to, m)
        if entry is None:
            return
        number, logs = m.stamp[0], {j: sim.on_disk(j).get("log") for j in sim.members}
        holders = [
            j
            for j, log in logs.items()
            if log is not None and log.items[number - 1 : number] == [entry]
        ]
        if len(holders) < sim.node(i).copies:
            raise Violation(
                self,
                f"rank {i} acknowledges number {number}, which is on the disks of {holders}; "
                f"{sim.node(i).copies} copies were asked for",
            )


class Fence(Invariant):
    """Its promise is the DoViewChange that it sent, in this life or an earlier one."""

    name, title = "V-S4", "a member promised to a view gives older primaries nothing"
    watches = (PrepareOk, DoViewChange)

    def __init__(self) -> None:
        self.promised: dict[int, int] = {}

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        promised = self.promised.get(i, 0)
        if isinstance(m, DoViewChange):
            self.promised[i] = max(m.view, promised)
        elif m.view < promised:
            raise Violation(
                self,
                f"rank {i} acknowledges to rank {to} in view {m.view}, after it has promised "
                f"itself to view {promised}",
            )


class OnePrimary(Invariant):
    name, title = "V-S5", "a view has one primary, and an entry of a view is one entry"
    watches = (Prepare,)

    def __init__(self) -> None:
        self.primaries: dict[int, int] = {}
        self.entries: dict[tuple[int, int], Entry] = {}  # by view and number

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        first = self.primaries.setdefault(m.view, i)
        if first != i:
            raise Violation(self, f"rank {i} is primary of view {m.view}, as rank {first} was")
        for number, entry in enumerate(m.entries, start=m.start):
            if self.entries.setdefault((m.view, number), entry) != entry:
                raise Violation(self, f"rank {i} has two entries number {number} in view {m.view}")


def entry_of(sim: Simulation, i: int, to: int, m: Answer) -> Entry | None:
    """The entry of the log that an answer acknowledges; None for a refusal or a local read."""
    log = sim.node(i).log
    if not m.done or not 1 <= m.stamp[0] <= len(log):
        return None
    entry: Entry = log[m.stamp[0] - 1]
    return entry if (entry.client, entry.serial) == (to, m.serial) else None


QUORUM = (NeverStale, NeverBack, EnoughCopies, OneValue, Linearizable)
PRIMARY_BACKUP = (OneOrder, NothingLost, EnoughBackups, Fence, OnePrimary, Linearizable)
