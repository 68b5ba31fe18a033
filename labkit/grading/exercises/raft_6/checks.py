"""raft.6: a follower with a bug. Those of real ones: m03, m15 (copycat #265, scylla #9965, etcd),
m17, m19, and a term that is not looked at.

Rank 2 is the answer's. Rank 0 has led term 1, rank 1 leads term 2; both say what the script says.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from labkit.checks import Case
from labkit.faults import At, CrashAt, Restart
from labkit.grading.exercise import Property
from labkit.grading.exercises.played import tried, until, with_answer
from labkit.protocols.effects import Apply, Effects, Protocol, Send, SetTimer, store
from labkit.protocols.raft.messages import Appended, AppendEntries, Entry
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import Schedule
from labkit.simulator.simulation import Simulation

FOLLOWER = 2
EFFECTS = 8
"""No handler of the solution has more."""
LAST = 9
"""The script's last message, an empty one behind the whole log."""


@dataclass(frozen=True)
class Logs:
    """How many entries both leaders share, what only the old one has, what the new one adds."""

    shared: int
    old: int
    new: int

    def __repr__(self) -> str:
        return f"{self.shared} entries in common, {self.old} old ones, {self.new} new ones"

    def of(self, leader: int) -> tuple[Entry, ...]:
        first = [Entry(1, f"a{i + 1}") for i in range(self.shared)]  # type: ignore[arg-type]
        count, term, letter = (self.old, 1, "x") if leader == 0 else (self.new, 2, "b")
        after = range(self.shared, self.shared + count)
        return (*first, *(Entry(term, f"{letter}{i + 1}") for i in after))  # type: ignore[arg-type]


def draw(r: random.Random) -> tuple[Logs]:
    return (Logs(r.randrange(1, 4), r.randrange(2, 5), r.randrange(2, 4)),)


class Leader(Protocol):
    """Says what the script has for it."""

    def __init__(self, *arguments: Any, script: Sequence[tuple[int, AppendEntries]]) -> None:
        super().__init__(*arguments)
        self.script = script

    def on_start(self) -> Effects:
        for number, (leader, m) in enumerate(self.script, 1):
            if leader == self.me:
                yield SetTimer("say", number - self.context.now, m.round)

    def on_say(self, number: int) -> Effects:
        yield Send(FOLLOWER, self.script[number - 1][1])

    def on_appended(self, follower: int, m: Appended) -> None:
        pass


def script_of(logs: Logs) -> list[tuple[int, AppendEntries]]:
    """A message a second; its number is its round."""
    old, new = logs.of(0), logs.of(1)
    shared, commit = logs.shared, len(new)

    def message(leader: int, number: int, prev: int, end: int, commit: int) -> Any:
        log = new if leader else old
        term = log[prev - 1].term if prev else 0
        entries = log[prev:end]
        return leader, AppendEntries(leader + 1, prev, term, entries, commit, number)

    return [
        message(0, 1, 0, len(old), shared),
        message(1, 2, shared + 1, commit, commit),  # the entry before is another one here
        message(1, 3, shared, shared, commit),  # a beat: nothing of the tail has been compared
        message(1, 4, shared, commit, commit),
        message(0, 5, 0, len(old), shared),  # late, from a leader of the past
        message(1, 6, 0, 1, 1),  # late
        message(1, 7, commit, commit, commit),
        message(1, 8, 0, commit, commit),
        message(1, LAST, commit, commit, commit),
    ]


class Committed(Invariant):
    """It applies what a leader has sent as committed, and in the end all of it."""

    name, title = "R-S5", "what is applied is what the leader has committed"
    watches = (AppendEntries,)

    def __init__(self) -> None:
        self.log: dict[int, Any] = {}
        self.done: set[int] = set()
        self.wrong: Apply | None = None

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if i != FOLLOWER:
            entries = enumerate(m.entries, m.prev_index + 1)
            self.log |= {index: entry.command for index, entry in entries if index <= m.commit}

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        self.done.add(apply.index)
        if apply.command != self.log.get(apply.index):
            self.wrong = self.wrong or apply

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        """When it has happened, so that the picture shows it."""
        if self.wrong is not None:
            said = f"rank {FOLLOWER} applies {self.wrong.command} as entry {self.wrong.index}"
            raise Violation(self, f"{said}, which no leader has committed")

    def finished(self, sim: Simulation) -> None:
        if missing := set(self.log) - self.done:
            raise Violation(self, f"rank {FOLLOWER} never applies entry {min(missing)}")


class Acknowledged(Invariant):
    """It says neither more than it has been shown, nor less than it has said before."""

    name, title = "R-S8", "what is said is on the disk"
    watches = (AppendEntries, Appended)

    def __init__(self) -> None:
        self.messages: dict[int, AppendEntries] = {}
        self.said: dict[int, int] = {}  # by leader, the last entry that it has been told of
        self.wrong = ""

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if i != FOLLOWER:
            self.messages[m.round] = m
        elif not self.wrong:
            self.wrong = self.what_is_wrong(to, m)

    def what_is_wrong(self, to: int, m: Appended) -> str:
        asked, said = self.messages.get(m.round), self.said.get(to, 0)
        if asked is None:
            return f"rank {FOLLOWER} answers round {m.round}, which nobody has begun"
        shown = asked.prev_index + len(asked.entries)
        if m.success and m.index > shown:
            return (
                f"rank {FOLLOWER} tells rank {to} that it has entry {m.index}, shown up to {shown}"
            )
        if m.success:
            self.said[to] = max(said, m.index)
        elif m.term == asked.term and asked.prev_index <= said:
            told = f"rank {FOLLOWER} has told rank {to} that it has entry {said}"
            return f"{told}, and has no entry {asked.prev_index} now"
        return ""

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        if self.wrong:
            raise Violation(self, self.wrong)


def trial(
    protocol: Callable[..., Any], logs: Logs, plans: dict[str, tuple[At, ...]]
) -> tuple[Scenario, dict[str, Schedule]]:
    leaders = partial(Leader, script=script_of(logs))
    answer = with_answer(protocol, FOLLOWER, leaders, EFFECTS)
    scenario = Scenario("raft.6", answer, (Committed, Acknowledged), progress=until(LAST + 1.0))
    return scenario, {name: Schedule(0, 3, plan, seconds=5.0) for name, plan in plans.items()}


calm = partial(trial, plans={"without a crash": ()})
BACK = At(Restart(FOLLOWER), seconds=4.5)
crashing = partial(  # inside the handler of message 4, which brings what is new, or behind it
    trial,
    plans={
        f"crash after {effects} effects": (At(CrashAt(FOLLOWER, effects), seconds=3.5), BACK)
        for effects in range(EFFECTS)
    }
    | {"crash when it is done": (BACK,)},
)


def picture(cases: Sequence[Case]) -> Any:
    """The logs of the two leaders, and the answer's as its disk had it when it first applied what
    no leader has committed; else after message 7."""
    from labkit.views.raft import logs

    case = next((case for case in cases if case.got != case.expected), cases[0])
    drawn: Logs = case.arguments[0]
    right = [entry.command for entry in drawn.of(1)]
    disk: dict[str, Any] = {}
    run = case.got.seen
    last, moment = 0, min(run.now, 7.5)
    for entry in run.recorder.trace:
        if entry.time > moment or entry.node != FOLLOWER:
            continue
        if entry.what == "persist":
            store(disk, entry.detail.values)
        elif entry.what == "apply":
            last = entry.detail.index
            if entry.detail.command != right[last - 1]:
                moment = entry.time
    terms = {i: [entry.term for entry in drawn.of(i)] for i in (0, 1)}
    mine = [entry.term for entry in disk["log"].items] if "log" in disk else []
    committed = {0: drawn.shared, 1: len(right), FOLLOWER: last}
    title = f"Node 2 is yours: at {moment:.1f} s it has applied what is left of the bold line"
    return logs(terms | {FOLLOWER: mine}, committed, title)


PROPERTIES = [
    Property(
        "it applies what the leader has committed",
        draw,
        partial(tried, calm),
        cases=6,
        ranks=6,
        picture=picture,
        trial=calm,
    ),
    Property(
        "what it has said to have outlives a crash",
        draw,
        partial(tried, crashing),
        cases=2,
        ranks=2 * (EFFECTS + 1) * 2,
        picture=picture,
        trial=crashing,
    ),
]
