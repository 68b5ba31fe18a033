"""Nodes around a table, of Raft unless told otherwise: a test says whose time-out runs out and who
is away, and compares the transcript of all that follows, as text."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from inspect import cleandoc
from typing import Any

from by_hand import entries

from labkit.protocols.effects import (
    Apply,
    Broadcast,
    Context,
    Effect,
    Message,
    Persist,
    Record,
    Send,
    Splice,
    Stored,
    deliver,
    fire,
    start,
    store,
)
from labkit.protocols.raft import Raft
from labkit.protocols.raft.entries import Snapshot
from labkit.protocols.raft.membership import Configuration
from labkit.protocols.raft.messages import AppendEntries, Entry
from labkit.protocols.raft.snapshots import InstallSnapshot
from labkit.protocols.swim import SUSPECT, Ack, Fact, Ping, PingReq
from labkit.simulator.story import brief

CLIENT = 1000

Lost = Callable[[int, int, Message], bool]
"""Whether a message from one node to another gets lost."""


class Table:
    """Messages lie on the table until they are taken from it, in the order in which they came to
    it. `logs` are the terms of the nodes' entries. The `spares` are no members and know of none.

    A line of the transcript is a message that arrives, a role, or what a node writes or applies.
    What is lost is not told, and neither are timers that are set.
    """

    def __init__(
        self,
        n: int,
        kind: Any = Raft,
        logs: Mapping[int, tuple[int, ...]] | None = None,
        spares: int = 0,
        term: int = 0,
        **settings: Any,
    ) -> None:
        self.members, self.kind, self.settings = tuple(range(n)), kind, settings
        self.nodes: dict[int, Any] = {}
        self.disks: dict[int, dict[str, Any]] = {}
        self.away: set[int] = set()
        self.lost: Lost = nothing
        self.table: deque[tuple[int, int, Message]] = deque()
        self.lines: list[str] = []
        for i in range(n + spares):
            log = entries(*(logs or {}).get(i, ()))
            first = {**kind.found(i, self.members), "term": term, "log": Stored(1, log)}
            self.disks[i] = first if i < n else {"identity": 10 * i}
            self.start(i)
        self.forget()

    # -- what is done

    def start(self, i: int) -> None:
        """Node `i` begins a life with what is on its disk."""
        self.lines.append(f"{i} starts")
        disk = self.disks[i]
        read = {k: Stored(v.first, [*v.items]) if k == "log" else v for k, v in disk.items()}
        self.nodes[i] = self.kind(i, self.members, Context(1.0, i), read, **self.settings)
        self._happen(i, start(self.nodes[i]))

    def wait(self, seconds: float) -> None:
        """On everybody's clock; no timer runs out by itself."""
        for made in self.nodes.values():
            made.context.now += seconds

    def fire(self, i: int, timer: str, key: Hashable = None) -> None:
        """A timer of node `i` runs out."""
        of = "" if key is None else f" of {key}"
        self.lines.append(f"{i}: its {timer} timer{of} runs out")
        self._happen(i, fire(self.nodes[i], timer, key))
        self.run()

    def tell(self, i: int, message: Message, sender: int = CLIENT) -> None:
        self.table.append((sender, i, message))
        self.run()

    def run(self) -> None:
        """Until nothing is left on the table. To and from those who are away all is lost."""
        while self.table:
            sender, to, message = self.table.popleft()
            if {sender, to} & self.away or self.lost(sender, to, message):
                continue
            self.lines.append(f"{sender} > {to}  {said(message)}")
            if to in self.nodes:
                self._happen(to, deliver(self.nodes[to], sender, message))

    def forget(self) -> None:
        """What was so far is not of interest."""
        self.lines = []

    def told(self) -> str:
        """The transcript since the last look at it."""
        told = "\n".join(self.lines)
        self.forget()
        return told

    # -- what happens

    def _happen(self, i: int, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(to, message):
                    self.table.append((i, to, message))
                case Broadcast(to, message):
                    self.table += [(i, one, message) for one in to]
                case Persist():
                    store(self.disks[i], effect.values)
                    values = (f"{k} {value_of(v)}" for k, v in effect.values.items())
                    self.lines.append(f"{i} writes {', '.join(values)}")
                case Record():
                    data = ", ".join(f"{k} {v}" for k, v in effect.data.items())
                    self.lines.append(f"{i} {effect.name}: {data}")
                case Apply():
                    self._apply(i, effect.index)

    def _apply(self, i: int, index: int) -> None:
        """Those that follow one another in one line: `0 applies 1 to 11`."""
        words = self.lines[-1].split() if self.lines else []
        if words[:2] == [str(i), "applies"] and words[-1] == str(index - 1):
            self.lines[-1] = f"{i} applies {words[2]} to {index}"
        else:
            self.lines.append(f"{i} applies {index}")


def elected(n: int = 3, **settings: Any) -> Table:
    """Node 0 leads term 1 and has committed its first entry; the others know."""
    table = Table(n, **settings)
    table.fire(0, "election")
    table.fire(0, "beat")
    table.forget()
    return table


def nothing(sender: int, to: int, message: Message) -> bool:
    return False


def appends(*terms: int) -> Lost:
    """Messages with entries of these terms; without any, all that could bring entries."""

    def lost(sender: int, to: int, m: Message) -> bool:
        return isinstance(m, AppendEntries) and (
            not terms or any(entry.term in terms for entry in m.entries)
        )

    return lost


def text(transcript: str) -> str:
    """As it stands in a test, between its quotation marks."""
    return cleandoc(transcript)


# -- in words


def said(message: Message) -> str:
    """Entries by their terms: `AppendEntries(term 8, after 3/1: 4 4 5; commit 0, round 1)`."""
    match message:
        case AppendEntries():
            after = f"after {message.prev_index}/{message.prev_term}: {terms_of(message.entries)}"
            known = f"commit {message.commit}, round {message.round}"
            return f"AppendEntries(term {message.term}, {after}; {known})"
        case InstallSnapshot(term, snapshot, round):
            return f"InstallSnapshot(term {term}, {value_of(snapshot)}, round {round})"
        case Ping(serial, origin, facts):
            return f"ping {serial} of {origin}{news(facts)}"
        case Ack(serial, origin, facts):
            return f"ack {serial} of {origin}{news(facts)}"
        case PingReq(target, serial, facts):
            return f"ping-req {serial}: {target}{news(facts)}"
    return brief(message)


def news(facts: Sequence[Fact]) -> str:
    """What travels with a message of SWIM: `; 1 is suspect in incarnation 0, says 2`."""
    words = ("alive", "suspect", "faulty")
    told = [
        f"; {fact.member} is {words[fact.status]} in incarnation {fact.incarnation}"
        + (f", says {fact.accuser}" if fact.status == SUSPECT else "")
        for fact in facts
    ]
    return "".join(told)


def terms_of(entries: Sequence[Entry]) -> str:
    return " ".join(map(value_of, entries)) or "nothing"


def value_of(x: Any) -> str:
    match x:
        case Entry(term, Configuration(voters)):
            return f"{term}={{{','.join(str(voter) for voter, _ in voters)}}}"
        case Entry(term, _):
            return str(term)
        case Snapshot(index, term, _):
            return f"all up to {index}/{term}"
        case Splice(start, items):
            return f"{terms_of(items)} from {start} on"
        case Stored(first, items):
            return f"{terms_of(items)} from {first} on, and nothing before"
    return str(x)
