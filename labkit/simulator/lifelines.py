"""What each node knew of a transaction, and when: for the pictures of `labkit.views.commit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.faults import CrashAt, Fault, Kill
from labkit.protocols.effects import Message, store
from labkit.protocols.three_phase_commit import PreCommit, PreCommitted, StateRequest
from labkit.protocols.three_phase_commit import State as StateOf
from labkit.protocols.two_phase_commit import (
    Acknowledged,
    Decision,
    Inquire,
    Prepare,
    Voted,
)
from labkit.simulator.invariants.commit import ABORTED, COMMITTED, PREPARED, WORKING, rm_state
from labkit.simulator.recorder import Entry
from labkit.simulator.simulation import Simulation
from labkit.views.commit import QUESTION, Arrow, Band, Lifelines

DOUBT, ASKING, DEAD = "in doubt", "asking", "dead"


def lifelines(sim: Simulation) -> Lifelines:
    """Of a recorded run with one transaction: the first member coordinates, the others take part.

    The lane of a participant shows what its disk says; that of the coordinator, what it does.
    """
    assert sim.recorder is not None
    trace = sim.recorder.trace
    bands: list[Band] = []
    now: dict[int, tuple[float, str]] = {}  # by lane, its state and since when
    disks: dict[int, dict[str, Any]] = {i: {} for i in sim.members}
    for entry in trace:
        if entry.node in disks:
            if entry.what == "persist":
                store(disks[entry.node], entry.detail.values)
            since, was = now.get(entry.node, (entry.time, WORKING))
            state = _state(entry, was, disks[entry.node], entry.node == sim.members[0])
            if state != was and since < entry.time:
                bands.append(Band(entry.node, since, entry.time, was))
            now[entry.node] = (since if state == was else entry.time), state
    bands += [Band(i, since, sim.now, state) for i, (since, state) in now.items()]
    names = ["coordinator", *(f"rank {i}" for i in sim.members[1:])]
    crosses = [(e.node, e.time) for e in trace if e.what == "crash"]
    faults = [(e.time, _named(e.detail)) for e in trace if e.what == "fault"]
    return Lifelines(names, bands, arrows(sim), crosses, [f for f in faults if f[1]])


def _state(entry: Entry, was: str, disk: Mapping[str, Any], coordinates: bool) -> str:
    if entry.what == "crash":
        return DEAD
    if not coordinates:
        return _of(disk) if was != DEAD or entry.what == "start" else DEAD
    if entry.what == "start":
        return COMMITTED if disk.get("committed") else WORKING
    if entry.what == "send" and isinstance(entry.detail, Prepare):
        return ASKING
    if entry.what == "record" and entry.detail.name.startswith("decides to"):
        return COMMITTED if entry.detail.name == "decides to commit" else ABORTED
    return was


def _of(disk: Mapping[str, Any]) -> str:
    """What a participant's disk says of the one transaction that there is."""
    for _, state in disk.get("states", ()):  # three-phase commit has a word for it
        return DOUBT if state == "uncertain" else str(state)
    transaction = max([disk.get("fence", 0), 1])
    state = rm_state(disk, transaction)
    return DOUBT if state == PREPARED else state


def arrows(sim: Simulation) -> list[Arrow]:
    """All messages between members; what is still on its way at the end counts as lost."""
    assert sim.recorder is not None
    flying: list[Entry] = []
    found = []
    for entry in sim.recorder.trace:
        peer = entry.peer
        if entry.node not in sim.members or peer not in sim.members or entry.node == peer:
            continue
        if entry.what == "send":
            flying.append(entry)
        elif entry.what == "message":
            ends = peer, entry.node
            same = (e for e in flying if (e.node, e.peer) == ends and e.detail == entry.detail)
            *_, sent = same  # the last: those before it were lost
            flying.remove(sent)
            found.append(Arrow(*ends, sent.time, entry.time, _word(entry.detail)))
    lost = (Arrow(e.node, e.peer or 0, e.time, None, _word(e.detail)) for e in flying)
    return [*found, *lost]


def _word(message: Message) -> str:
    match message:
        case Prepare():
            return "prepare"
        case Voted(_, yes):
            return "yes" if yes else "no"
        case Decision(_, commit):
            return "commit" if commit else "abort"
        case Acknowledged():
            return "done"
        case PreCommit():
            return "precommit"
        case PreCommitted():
            return "heard"
        case StateOf(_, state):
            return state
        case Inquire() | StateRequest():
            return QUESTION
    return type(message).__name__.lower()


def _named(fault: Fault) -> str:
    """A crash shows where it strikes, not where it was announced."""
    return "" if isinstance(fault, CrashAt | Kill) else type(fault).__name__.lower()
