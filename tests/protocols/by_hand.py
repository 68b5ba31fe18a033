"""Raft nodes without an engine: a test hands them messages and looks at the effects."""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import (
    Apply,
    Broadcast,
    Context,
    Effect,
    Message,
    Persist,
    Send,
    SetTimer,
    Stored,
    deliver,
    start,
    store,
)
from labkit.protocols.raft import Raft
from labkit.protocols.raft.machine import Put
from labkit.protocols.raft.messages import Appended, AppendEntries, Entry, Vote

SETTINGS = ("compact", "batch", "pre_vote", "check_quorum")


def entries(*terms: int) -> list[Entry]:
    """A log by the terms of its entries, with commands that differ by index and term."""
    return [Entry(term, Put("x", f"{i}/{term}")) for i, term in enumerate(terms, start=1)]


def node(kind: Any = Raft, me: int = 0, n: int = 3, log: Any = (), **stored: Any) -> Any:
    """A follower at second 1.0 of its clock, with what is `stored` on its disk. Its `log` is told
    by the terms of its entries."""
    members = tuple(range(n))
    settings = {name: stored.pop(name) for name in SETTINGS if name in stored}
    disk = {**kind.found(me, members), **stored}
    if log:
        disk["log"] = log if isinstance(log, Stored) else Stored(1, entries(*log))
        disk.setdefault("term", max((entry.term for entry in disk["log"].items), default=0))
    made = kind(me, members, Context(1.0), disk, **settings)
    start(made)
    return made


def leader(n: int = 3, log: tuple[int, ...] = (), kind: Any = Raft, **stored: Any) -> Any:
    """Node 0, elected in the term after that of its log by the first half of the others. The entry
    with which it begins its term is in its log and with nobody else."""
    made = node(kind, 0, n, log, **stored)
    list(made.become_candidate())
    for voter in made.others[: n // 2]:
        deliver(made, voter, Vote(made.term, True, made.voters.get(voter, 0)))
    assert made.role == "leader"
    return made


def sent(effects: list[Effect], kind: type[Message] = Message) -> list[Any]:
    """The messages among the effects, a broadcast once."""
    messages = [e.message for e in effects if isinstance(e, (Send, Broadcast))]
    return [m for m in messages if isinstance(m, kind)]


def receivers(effects: list[Effect], kind: type[Message] = Message) -> list[int]:
    """To whom messages of a kind go."""
    to: list[int] = []
    for e in effects:
        if isinstance(e, Send) and isinstance(e.message, kind):
            to.append(e.to)
        elif isinstance(e, Broadcast) and isinstance(e.message, kind):
            to += e.to
    return to


def timers(effects: list[Effect]) -> list[str]:
    return [e.timer for e in effects if isinstance(e, SetTimer)]


def position(effects: list[Effect], kind: type) -> int:
    """Which effect is the first of its kind."""
    return [type(e) for e in effects].index(kind)


def disk(effects: list[Effect], before: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is on a disk after the effects."""
    stored = dict(before or {})
    for e in effects:
        if isinstance(e, Persist):
            store(stored, e.values)
    return stored


def terms(made: Any) -> list[int]:
    """Those of the log's entries."""
    return [entry.term for entry in made.log]


def append(
    term: int, prev: int, prev_term: int, new: list[Entry], commit: int = 0, round: int = 1
) -> AppendEntries:
    return AppendEntries(term, prev, prev_term, tuple(new), commit, round)


def yes(term: int, index: int, round: int = 1) -> Appended:
    return Appended(term, True, index, round)


def applied(effects: list[Any]) -> list[int]:
    return [e.index for e in effects if isinstance(e, Apply)]


def answer(made: Any, *followers: int, round: int | None = None) -> list[Any]:
    """They have the leader's whole log."""
    effects = []
    for f in followers:
        beat = made.round if round is None else round
        done = Appended(made.term, True, made.last_index, beat, made.followers[f])
        effects += deliver(made, f, done)
    return effects


def settled(n: int = 3, **more: Any) -> Any:
    """A leader that has committed the entry with which it began its term."""
    made = leader(n, **more)
    answer(made, *range(1, n))
    return made
