"""raft.6: a follower that takes its own tail for the leader's. Bugs: m15 (copycat #265, scylla
#9965, etcd), and those of wrong repairs: m03, m17, and a term that is not looked at.

Rank 2 is the answer's. Rank 0 has led term 1, rank 1 leads term 2; both say what the script says.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from labkit.checks import Case
from labkit.faults import At, CrashAt, FaultPlan, Restart
from labkit.grading.exercise import Property
from labkit.grading.exercises.played import Played, said_by, simulated
from labkit.grading.nodes import blamed_on
from labkit.protocols.effects import Effects, Protocol, Send, SetTimer, store
from labkit.protocols.raft.messages import Appended, AppendEntries, Entry
from labkit.simulator.simulation import Simulation

FOLLOWER = 2
EFFECTS = 5
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


def run(protocol: Callable[..., Any], logs: Logs, *plan: At) -> Simulation:
    leaders = partial(Leader, script=script_of(logs))
    sim: Simulation = simulated(protocol, FOLLOWER, leaders, n=3, faults=FaultPlan(*plan))
    with blamed_on(protocol):
        return sim.run(LAST + 1.0)


def applied(sim: Simulation) -> str:
    """`1 a1, 2 b2`: the commands by index, all that were ever applied there."""
    assert sim.recorder is not None
    found: dict[int, list[str]] = {}
    for entry in sim.recorder.trace:
        if entry.what == "apply" and entry.node == FOLLOWER:
            commands = found.setdefault(entry.detail.index, [])
            if (command := str(entry.detail.command)) not in commands:
                commands.append(command)
    return ", ".join(f"{index} {' and '.join(found[index])}" for index in sorted(found))


def answers(sim: Simulation) -> dict[int, Appended]:
    """The last answer to each message of the script."""
    return {m.round: m for _, _, m in said_by(sim, FOLLOWER, Appended)}


def calm(protocol: Callable[..., Any], logs: Logs) -> Played:
    """Without a crash: what is applied, and whether it says more than it has been shown, or less
    than it has said before."""
    sim = run(protocol, logs)
    found = Played({"it applies": applied(sim)})
    script = dict(enumerate((m for _, m in script_of(logs)), 1))
    for number, m in answers(sim).items():
        shown = script[number].prev_index + len(script[number].entries) if number in script else 0
        if m.success and m.index > shown:
            found["it applies"] += f"; it says that it has entry {m.index}, shown up to {shown}"
            break
    if not (7 in answers(sim) and answers(sim)[7].success):
        found["it applies"] += "; it has lost what it had said to have"
    found.seen = sim
    return found


def crashing(protocol: Callable[..., Any], logs: Logs) -> Played:
    """With a crash inside the handler of message 4, which brings what is new."""
    found, shown = Played(), None
    for effects in range(EFFECTS):
        crash = At(CrashAt(FOLLOWER, effects), seconds=3.5)
        sim = run(protocol, logs, crash, At(Restart(FOLLOWER), seconds=4.5))
        said, has = answers(sim).get(4), answers(sim).get(7)
        kept = "keeps what it has said to have"
        if said is not None and said.success and not (has is not None and has.success):
            kept = "has said that it has the entries, and has them no more"
        text = f"{kept}, and applies {applied(sim)}"
        found[f"crash after {effects} effects"] = text
        right = f"{kept}, and applies " + ", ".join(
            f"{index} {entry.command}" for index, entry in enumerate(logs.of(1), 1)
        )
        if shown is None and (text != right or not kept.startswith("keeps")):
            shown = sim
    found.seen = shown or sim
    return found


def picture(cases: Sequence[Case]) -> Any:
    """The logs of the two leaders, and the answer's as its disk had it when it first applied what
    no leader has committed; else after message 7."""
    from labkit.views.raft import logs

    case = next((case for case in cases if case.got != case.expected), cases[0])
    drawn: Logs = case.arguments[0]
    right = [entry.command for entry in drawn.of(1)]
    disk: dict[str, Any] = {}
    last, moment = 0, 7.5
    for entry in case.got.seen.recorder.trace:
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
        "it applies what the leader has committed", draw, calm, cases=6, ranks=6, picture=picture
    ),
    Property(
        "what it has said to have outlives a crash",
        draw,
        crashing,
        cases=2,
        ranks=2 * EFFECTS * 2,
        picture=picture,
    ),
]
