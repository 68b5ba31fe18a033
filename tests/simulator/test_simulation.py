"""The simulator itself: if it were wrong, everything that it says would be."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from labkit.faults import (
    LEADER,
    At,
    CrashAt,
    Cut,
    DiskError,
    FaultPlan,
    Kill,
    LostWrite,
    Partition,
    Pause,
    Restart,
    WipeDisk,
)
from labkit.protocols.effects import (
    Broadcast,
    CancelTimer,
    Effects,
    Message,
    Persist,
    Protocol,
    Send,
    SetTimer,
    Splice,
    Stored,
)
from labkit.simulator.aim import aim
from labkit.simulator.network import Network
from labkit.simulator.simulation import Simulation


class Note(Message, frozen=True):
    number: int


class Counter(Protocol):
    """Writes 1, 2, 3, … to its disk and tells the others of each."""

    def __init__(self, me: int, members: Any, context: Any, stored: Any) -> None:
        super().__init__(me, members, context, stored)
        self.count: int = stored.get("count", 0)
        self.stored_at_start = dict(stored)
        self.heard: list[tuple[int, int]] = []
        self.times: list[float] = []

    def on_start(self) -> Effects:
        yield SetTimer("tick", 0.1)

    def on_tick(self) -> Effects:
        self.times.append(self.context.now)
        self.count += 1
        yield Persist(count=self.count)
        yield Broadcast(self.peers, Note(self.count))
        yield SetTimer("tick", 0.1)

    def on_note(self, sender: int, m: Note) -> None:
        self.heard.append((sender, m.number))


def numbers(sim: Simulation, at: int, sender: int) -> list[int]:
    return [number for source, number in sim.node(at).heard if source == sender]


def test_all_nodes_run_and_hear_each_other() -> None:
    sim = Simulation(Counter, n=3, seed=1).run(1.05)
    assert [sim.node(i).count for i in range(3)] == [10, 10, 10]
    assert numbers(sim, 0, 1) == list(range(1, 11))
    assert sim.delivered == 60


def plan(*faults: Any, seconds: float = 0.5) -> FaultPlan:
    return FaultPlan(*(At(fault, seconds=seconds) for fault in faults))


def test_a_dead_node_does_nothing_and_comes_back_with_its_disk() -> None:
    plan = FaultPlan(At(Kill(1), seconds=0.55), At(Restart(1), seconds=1.0))
    sim = Simulation(Counter, n=3, seed=1, faults=plan)
    sim.run(0.9)
    assert not sim.alive(1)
    assert sim.node(0).count > sim.on_disk(1)["count"] == 5
    sim.run(1.0)
    assert sim.node(1).stored_at_start == {"count": 5}
    assert sim.node(1).count == 13
    assert sim.node(1).heard[0][1] > 9  # volatile state is gone


@pytest.mark.parametrize(
    ("effects", "count", "told"),
    [(0, 4, []), (1, 5, []), (2, 5, [0]), (3, 5, [0, 2])],
)
def test_a_crash_falls_between_any_two_effects(effects: int, count: int, told: list[int]) -> None:
    """A broadcast is a send to each: some of the others may have heard of it."""
    sim = Simulation(Counter, n=3, seed=1, faults=plan(CrashAt(1, effects), seconds=0.45)).run(2)
    assert not sim.alive(1)
    assert sim.on_disk(1)["count"] == count
    assert [i for i in (0, 2) if 5 in numbers(sim, i, 1)] == told


def test_a_failed_write_stops_the_node_before_anyone_hears() -> None:
    sim = Simulation(Counter, n=3, seed=1, faults=plan(DiskError(1), seconds=0.45)).run(2)
    assert not sim.alive(1)
    assert sim.on_disk(1) == {"count": 4}
    assert 5 not in numbers(sim, 0, 1)


def test_a_disk_that_lies_shows_it_at_the_crash() -> None:
    lie = FaultPlan(At(LostWrite(1), seconds=0.45), At(Kill(1), seconds=0.95))
    sim = Simulation(Counter, n=3, seed=1, faults=lie).run(0.94)
    assert sim.on_disk(1)["count"] == 9
    sim.run(0.1)
    assert sim.on_disk(1)["count"] == 4


def test_a_wiped_disk_is_empty() -> None:
    sim = Simulation(Counter, n=3, seed=1, faults=plan(WipeDisk(1))).run(1)
    assert sim.on_disk(1) == {}


def test_a_paused_node_handles_late_what_came_meanwhile() -> None:
    sim = Simulation(Counter, n=2, seed=1, faults=plan(Pause(1, 0.5), seconds=0.45)).run(0.9)
    assert sim.alive(1)
    assert not sim.running(1)
    assert numbers(sim, 1, 0) == [1, 2, 3, 4]
    sim.run(0.1)
    assert numbers(sim, 1, 0)[:9] == list(range(1, 10))
    assert sim.node(1).times[4] == pytest.approx(0.95)


def test_who_is_restarted_before_its_start_is_started_once() -> None:
    """A second start would find the timers of the first, and set none."""
    sim = Simulation(Counter, n=2, seed=1, faults=plan(Restart(0), seconds=0.0)).run(1.05)
    assert sim.life(0) == 0
    assert len(sim.node(0).times) == 10


@pytest.mark.parametrize("between", [(), (At(Restart(1), seconds=0.5),)])
def test_of_pauses_that_overlap_the_longest_counts(between: tuple[At, ...]) -> None:
    """Also where the first was of an earlier life."""
    first, second = At(Pause(1, 0.5), seconds=0.4), At(Pause(1, 0.7), seconds=0.6)
    sim = Simulation(Counter, n=2, seed=1, faults=FaultPlan(first, *between, second))
    assert not sim.run(1.25).running(1)
    assert sim.run(0.1).running(1)


def test_who_was_restarted_meanwhile_has_stood_still_no_more_when_the_pause_ends() -> None:
    """The invariants of progress give a node time after a pause: after one in this life."""
    entries = At(Pause(1, 0.5), seconds=0.4), At(Restart(1), seconds=0.5)
    sim = Simulation(Counter, n=2, seed=1, faults=FaultPlan(*entries)).run(1.0)
    assert sim.resumed(1) == 0.0


def test_a_cut_is_one_way() -> None:
    sim = Simulation(Counter, n=3, seed=1, faults=plan(Cut(0, 1), seconds=0.45)).run(1.05)
    assert numbers(sim, 1, 0) == [1, 2, 3, 4]
    assert numbers(sim, 0, 1) == numbers(sim, 2, 0) == list(range(1, 11))


def test_messages_overtake_each_other() -> None:
    network = Network(high=0.5)
    heard = numbers(Simulation(Counter, n=2, seed=1, network=network).run(3), 1, 0)
    assert heard != sorted(heard)


def test_loss_and_duplicates_come_as_often_as_said() -> None:
    lossy = Simulation(Counter, n=2, seed=1, network=Network(loss=0.3)).run(100)
    assert 0.25 < 1 - len(numbers(lossy, 1, 0)) / 1000 < 0.35
    double = Simulation(Counter, n=2, seed=1, network=Network(duplicate=0.3)).run(100)
    assert 1250 < len(numbers(double, 1, 0)) < 1350


class Timers(Protocol):
    """Sets, puts off and cancels."""

    def on_start(self) -> Effects:
        self.fired: list[tuple[str, float]] = []
        yield SetTimer("late", 1.0)
        yield SetTimer("late", 2.0)  # put off
        yield SetTimer("early", 2.0)
        yield SetTimer("early", 0.5)  # brought forward
        yield SetTimer("never", 1.0)
        yield CancelTimer("never")
        yield SetTimer("each", 0.1, "a")
        yield SetTimer("each", 0.2, "b")

    def on_late(self) -> None:
        self.fired.append(("late", round(self.context.now, 3)))

    def on_early(self) -> None:
        self.fired.append(("early", round(self.context.now, 3)))

    def on_each(self, key: str) -> None:
        self.fired.append((key, round(self.context.now, 3)))


def test_timers() -> None:
    sim = Simulation(Timers, n=1, seed=3).run(5)
    begin = sim.node(0).fired[0][1] - 0.1
    after = [(name, round(time - begin, 3)) for name, time in sim.node(0).fired]
    assert after == [("a", 0.1), ("b", 0.2), ("early", 0.5), ("late", 2.0)]


class Sequence(Protocol):
    def on_start(self) -> Effects:
        yield Persist(log=Splice(1, ("a", "b", "c")))
        yield Persist(log=Splice(2, ("x",)))
        yield Persist(other=1, log=Stored(2, ["x"]))


def test_a_splice_changes_the_end_of_a_sequence() -> None:
    sim = Simulation(Sequence, n=1).run(1)
    assert sim.on_disk(0) == {"log": Stored(2, ["x"]), "other": 1}


class Parcel(Message, frozen=True):
    items: list[int]  # which no message should have: a list can be changed


class Shares(Protocol):
    def on_start(self) -> Effects:
        self.got: list[list[int]] = []
        if self.me == 0:
            yield Broadcast((1, 2), Parcel([7]))

    def on_parcel(self, sender: int, m: Parcel) -> None:
        m.items.append(self.me)
        self.got.append(m.items)


def test_with_the_wire_no_two_nodes_share_a_message() -> None:
    plain = Simulation(Shares, n=3).run(1)
    wired = Simulation(Shares, n=3, wire=True).run(1)
    assert plain.node(1).got == plain.node(2).got  # both have what both have added
    assert [wired.node(i).got for i in (1, 2)] == [[[7, 1]], [[7, 2]]]
    with pytest.raises(AttributeError, match="immutable"):
        Note(1).number = 2  # type: ignore[misc]


def test_what_is_read_back_is_no_alias_of_the_disk() -> None:
    sim = Simulation(Sequence, n=1).run(1)
    copy = sim._nodes[0].storage.recover()
    copy["log"].items.append("y")
    assert sim.on_disk(0)["log"].items == ["x"]


def test_faults_find_the_leader() -> None:
    assert aim(Kill(LEADER), 2) == Kill(2)
    assert aim(Kill(LEADER), None) is None
    assert aim(Kill(1), None) == Kill(1)
    assert aim(Partition(((LEADER,), (0, 1, 2))), 1) == Partition(((1,), (0, 2)))


def test_an_error_in_a_handler_says_where() -> None:
    class Broken(Protocol):
        def on_start(self) -> Effects:
            yield Send(0, Note(1))

        def on_note(self, sender: int, m: Note) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        Simulation(Broken, n=1).run(1)
    assert "rank 0" in caught.value.__notes__[0]
    assert "Note(number=1)" in caught.value.__notes__[0]


def test_protocols_and_simulator_import_neither_torch_nor_the_runtime() -> None:
    code = (
        "import sys, pkgutil, importlib, labkit.protocols, labkit.simulator\n"
        "for package in (labkit.protocols, labkit.simulator):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "print([m for m in sys.modules if m == 'torch' or m.startswith('labkit.runtime')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
