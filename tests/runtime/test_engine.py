"""Protocols on real processes: SIGKILL between any two effects, pauses, slow and broken disks; and
every run, replayed, is one that the model allows."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from outside import wait_until

from labkit import At, Cluster, Kill, disk
from labkit.events import Event
from labkit.protocols import handled
from labkit.protocols.codec import encode
from labkit.protocols.effects import (
    Broadcast,
    Context,
    Effects,
    Message,
    Persist,
    Protocol,
    Record,
    Send,
    SetTimer,
)
from labkit.protocols.handled import Begun, Handled, digest
from labkit.protocols.journal import Codec
from labkit.runtime.engine import Engine, Node
from labkit.runtime.loop import Loop
from labkit.runtime.run import Run
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.replay import Divergence, Replay, replay
from labkit.view import Member

TICK, STEP = 0.01, 0.1


class Count(Message, frozen=True):
    n: int


class Noted(Message, frozen=True):
    n: int


class Tally(Protocol):
    """Counts up, writes down, tells the others; they write down whom they heard say what."""

    def __init__(self, me: int, members: tuple[int, ...], context: Context, stored: Any) -> None:
        super().__init__(me, members, context, stored)
        self.n: int = stored.get("n", 0)
        self.heard: dict[str, int] = dict(stored.get("heard", {}))

    @classmethod
    def found(cls, me: int, members: tuple[int, ...]) -> dict[str, Any]:
        return {"founded": True}

    def on_start(self) -> Effects:
        yield Record("tally", "starts", n=self.n)
        yield SetTimer("tick", TICK)

    def on_tick(self) -> Effects:
        self.n += 1 + self.context.random.randrange(3)
        yield Persist(n=self.n)
        yield Broadcast(self.peers, Count(self.n))
        yield Persist(told=self.n)
        yield SetTimer("tick", TICK)

    def on_count(self, sender: int, m: Count) -> Effects:
        assert m.n > self.heard.get(str(sender), 0), "a counter went back"
        self.heard[str(sender)] = m.n
        yield Persist(heard=dict(self.heard))
        yield Send(sender, Noted(m.n))

    def on_noted(self, sender: int, m: Noted) -> Effects:
        yield Record("tally", "noted", by=sender, n=m.n)

    def on_suspect(self, peer: int) -> Effects:
        yield Record("tally", "suspects", peer=peer)

    def on_trust(self, peer: int) -> Effects:
        yield Record("tally", "trusts", peer=peer)


class Durable(Invariant):
    name, title = "T-1", "what is said is on the disk"
    watches = (Count,)

    def sent(self, sim: Any, i: int, to: int, m: Count) -> None:
        if sim.on_disk(i).get("n", 0) < m.n:
            raise Violation(self, f"rank {i} says {m.n} and has {sim.on_disk(i)}")


class Pulse(Protocol):
    """Says that it lives, and writes nothing."""

    def on_start(self) -> Effects:
        yield SetTimer("beat", TICK)

    def on_beat(self) -> Effects:
        yield Record("pulse")
        yield SetTimer("beat", TICK)


class March(Protocol):
    """Keeps step with the others."""

    def on_start(self) -> Effects:
        yield SetTimer("step", STEP, periodic=True)

    def on_step(self) -> Effects:
        yield Record("march")
        yield SetTimer("step", STEP, periodic=True)


PROTOCOLS = {"tally": Tally, "pulse": Pulse, "march": March}


@pytest.fixture
def cluster() -> Any:
    with Cluster(3, backend="gloo", device="cpu", protocols=PROTOCOLS) as cluster:
        yield cluster


def wait(worker: Any) -> None:
    """A training function that is interrupted by the end of the test."""
    import time

    while True:
        time.sleep(0.01)


def until(run: Run, count: int, kind: str, name: str = "", **data: Any) -> list[Event]:
    """Waits for so many events like this."""

    def found() -> list[Event]:
        return [
            e
            for e in run.events
            if e.kind == kind
            and name in ("", e.name)
            and all(e.data.get(k, getattr(e, k, None)) == v for k, v in data.items())
        ]

    wait_until(lambda: len(found()) >= count, f"{count} times {kind} {name} {data}")
    return found()


def notes(run: Run, **data: Any) -> list[Event]:
    return until(run, 0, "tally", "noted", **data)


def answered(run: Run, rank: int, to: int, count: int = 10) -> None:
    """Waits until it has noted so many more: a node handles what it gets in its order."""
    until(run, len(notes(run, by=rank, rank=to)) + count, "tally", "noted", by=rank, rank=to)


def files(cluster: Cluster, group: str = "tally") -> list[Path]:
    assert cluster.directory is not None
    return sorted((cluster.directory / "handled").glob(f"{group}.*"))


def accepted(cluster: Cluster) -> Any:
    return replay(Tally, files(cluster), (Durable,))


# -- lives


def test_nodes_talk_and_the_model_allows_all_that_they_did(cluster: Cluster) -> None:
    run = cluster.run(wait)
    for rank in range(3):
        until(run, 20, "tally", "noted", by=rank)
    run.cancel()
    cluster.close()
    model = accepted(cluster)
    assert model.lives == 3
    assert model.steps > 100
    assert model.delivered > 60


def test_what_is_periodic_comes_at_the_same_time_everywhere_and_the_model_allows_it(
    cluster: Cluster,
) -> None:
    run = cluster.run(wait)
    for rank in range(3):
        until(run, 15, "march", rank=rank)
    run.cancel()
    cluster.close()
    for rank in range(3):
        late = [e.time % STEP for e in run.events if (e.kind, e.rank) == ("march", rank)]
        assert statistics.median(late) < STEP / 4, f"rank {rank} keeps a time of its own"
    assert replay(March, files(cluster, "march")).steps > 45


POINTS = ["engine.handle", "engine.persist", "engine.persisted", "engine.send"]
POINTS += ["disk.append", "disk.fsync"]


@pytest.mark.parametrize("point", POINTS)
def test_sigkill_at_any_point_and_the_next_life_goes_on(cluster: Cluster, point: str) -> None:
    run = cluster.run(wait, faults=[At(Kill(1), point=point, count=17)])
    wait_until(lambda: 1 in run.deaths, "rank 1 did not die")
    assert run.deaths[1].signal == "SIGKILL"
    until(run, 2, "tally", "suspects", peer=1)
    cluster.restart(1)
    until(run, 2, "tally", "trusts", peer=1)
    run.cancel()
    run = cluster.run(wait)
    until(run, 10, "tally", "noted", by=1)
    run.cancel()
    cluster.close()
    model = accepted(cluster)
    assert model.lives == 4
    second = next(e for e in handled.read(files(cluster)[2]) if isinstance(e, handled.Begun))
    assert (second.node, second.life) == (1, 1)
    assert b"told" in second.stored, "the second life has found what the first had written"


def test_a_paused_process_goes_on_where_it_was(cluster: Cluster) -> None:
    run = cluster.run(wait)
    until(run, 5, "tally", "noted", by=1)
    cluster.pause(1)
    before = len(until(run, 5, "tally", "noted", by=0))
    until(run, before + 20, "tally", "noted", by=0)
    cluster.resume(1)
    again = len(until(run, 5, "tally", "noted", by=1))
    until(run, again + 20, "tally", "noted", by=1)
    run.cancel()
    cluster.close()
    assert accepted(cluster).lives == 3


def test_a_wiped_disk_is_not_founded_again(cluster: Cluster) -> None:
    run = cluster.run(wait)
    until(run, 5, "tally", "noted", by=2)
    cluster.kill(2)
    until(run, 2, "tally", "suspects", peer=2)
    assert cluster.directory is not None
    shutil.rmtree(cluster.directory / "disks" / "tally.2")
    cluster.restart(2)
    until(run, 1, "tally", "starts", rank=2, life=1)
    run.cancel()
    cluster.close()
    second = next(iter(handled.read(files(cluster)[-1])))
    assert isinstance(second, handled.Begun)
    assert second.life == 1
    assert b"founded" not in second.stored


# -- disks


def held_disk(worker: Any, gate: str) -> None:
    """From now on no write of rank 1 ends while the file `gate` is there."""
    import os
    import time

    from labkit import disk

    if worker.rank == 1:
        real = disk._flush

        def held(descriptor: int) -> None:
            while os.path.exists(gate):
                time.sleep(0.001)
            real(descriptor)

        disk._flush = held
    wait(worker)


def test_a_write_holds_back_its_own_node_and_nothing_else(cluster: Cluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    run = cluster.run(held_disk, gate=str(gate))
    until(run, 1, "tally", "noted", by=0)

    answered(run, 0, to=2)  # they have handled what rank 1 had said before
    answered(run, 2, to=0)
    before = len(notes(run, by=1))
    until(run, len(until(run, 1, "pulse", rank=1)) + 50, "pulse", rank=1)
    assert len(notes(run, by=1)) == before, "an effect overtook the write before it"
    gate.unlink()
    until(run, before + 10, "tally", "noted", by=1)
    run.cancel()
    cluster.close()
    accepted(cluster)


class Heard(Protocol):
    """Says that it has heard a one; writes down what is more, and answers then."""

    def on_start(self) -> Effects:
        yield Record("begins")

    def on_count(self, sender: int, m: Count) -> Effects:
        if m.n == 1:
            yield Record("hears")
        else:
            yield Persist(n=m.n)
            yield Send(sender, Noted(m.n))


def test_what_an_effect_brings_the_node_does_not_overtake_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a view leaves somebody out: its record closes a connection, and so the node hears of
    that while its effects happen."""
    began, gate, sent = threading.Event(), threading.Event(), SimpleQueue[int]()
    loop = Loop("test")
    loop.start()
    engine = Engine(loop, Member(0, 0), tmp_path, lambda rank, said: sent.put(rank))

    def on_record(record: Record) -> None:
        if record.kind == "hears":
            node.deliver(1, encode(Count(2)))
        began.set()

    def start() -> Node:
        made = engine.run("heard", Heard, (0, 1), trace=False)
        made.on_record = on_record
        return made

    node = loop.call(start)
    assert began.wait(10.0)
    monkeypatch.setattr(disk, "_flush", lambda descriptor: gate.wait(10.0))

    loop.call(lambda: node.deliver(1, encode(Count(1))))
    early = not sent.empty()
    gate.set()

    assert sent.get(timeout=10.0) == 1
    assert not early, "it has answered before that was durable"
    loop.stop()


def broken_disk(worker: Any) -> None:
    import errno
    import os

    from labkit import disk

    if worker.rank == 1:

        def broken(descriptor: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        disk._flush = broken
    wait(worker)


def test_a_failed_fsync_ends_the_process_before_anybody_is_told(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    run = cluster.run(wait)
    for rank in range(3):
        until(run, 2, "tally", "noted", by=rank)
    run.cancel()
    run = cluster.run(broken_disk)
    wait_until(lambda: 1 in run.deaths, "rank 1 did not stop")
    assert run.deaths[1].code == 1
    until(run, 2, "tally", "suspects", peer=1)
    cluster.close()
    assert "tally on rank 1 stops" in capfd.readouterr().out
    accepted(cluster)


def test_a_damaged_journal_keeps_its_node_from_starting(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    run = cluster.run(wait)
    until(run, 5, "tally", "noted", by=2)
    cluster.kill(2)
    wait_until(lambda: 2 in run.deaths, "rank 2 did not die")
    assert cluster.directory is not None
    journal = cluster.directory / "disks" / "tally.2" / "journal"
    data = bytearray(journal.read_bytes())
    data[20] ^= 1
    journal.write_bytes(data)
    with contextlib.suppress(RuntimeError):  # its end comes before it has joined a view, or after
        cluster.restart(2)
    wait_until(lambda: "2 alive" in repr(cluster), "rank 2 goes on")
    said = capfd.readouterr().out
    assert str(journal.parent) in said
    assert "must not vote again with this disk" in said


# -- handlers that raise, links that fail


class Faulty(Pulse):
    def on_beat(self) -> Effects:
        if self.me == 1:
            raise ZeroDivisionError("a mistake of this exercise")
        yield from super().on_beat()


def test_a_handler_that_raises_stops_its_node_and_says_why(
    capfd: pytest.CaptureFixture[str],
) -> None:
    protocols = {"faulty": Faulty, "pulse": Pulse}
    with Cluster(2, backend="gloo", device="cpu", protocols=protocols) as cluster:
        run = cluster.run(wait)
        until(run, 10, "pulse", rank=1)
        assert not run.deaths
        run.cancel()
    said = capfd.readouterr().out
    assert "faulty has stopped on rank 1" in said
    assert "a mistake of this exercise" in said


def test_a_cut_link_loses_messages_one_way(cluster: Cluster) -> None:
    run = cluster.run(wait)
    until(run, 5, "tally", "noted", by=1, rank=0)
    cluster.cut(1, 0)

    answered(run, 0, to=2)  # it has handled what was on its way, however slow its disk is
    before = len(notes(run, by=1, rank=0))
    answered(run, 0, to=2, count=20)
    assert len(notes(run, by=1, rank=0)) == before
    cluster.heal()
    until(run, before + 5, "tally", "noted", by=1, rank=0)
    run.cancel()
    cluster.close()
    accepted(cluster)


def test_a_class_of_a_notebook_is_shipped_with_its_messages() -> None:
    source = {"__name__": "__main__"}
    exec(
        "from labkit.protocols.effects import *\n"
        "class Ping(Message, frozen=True):\n"
        "    n: int\n"
        "class Pinger(Protocol):\n"
        "    def on_start(self):\n"
        "        yield SetTimer('go', 0.01)\n"
        "    def on_go(self):\n"
        "        yield Broadcast(self.peers, Ping(1))\n"
        "        yield SetTimer('go', 0.01)\n"
        "    def on_ping(self, sender: int, m: Ping):\n"
        "        yield Record('ping', n=m.n)\n",
        source,
    )
    module = sys.modules["__main__"]
    for name in ("Ping", "Pinger"):
        setattr(module, name, source[name])
    with Cluster(2, backend="gloo", device="cpu", protocols={"p": source["Pinger"]}) as cluster:
        run = cluster.run(wait)
        until(run, 3, "ping", n=1)
        run.cancel()


def test_a_handler_that_does_not_say_its_message_is_refused_before_anything_starts() -> None:
    class Vague(Protocol):
        def on_ping(self, sender, m):  # type: ignore[no-untyped-def]
            yield Send(sender, m)

    with pytest.raises(TypeError, match=r"Vague\.on_ping: say what it takes"):
        Cluster(2, protocols={"vague": Vague})


# -- what the replay refuses


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a short run."""
    patch = pytest.MonkeyPatch()
    patch.setenv("LABKIT_RUNS", str(tmp_path_factory.mktemp("runs")))
    with Cluster(2, backend="gloo", device="cpu", protocols={"tally": Tally}) as cluster:
        run = cluster.run(wait)
        until(run, 10, "tally", "noted", by=1)
        run.cancel()
    patch.undo()
    assert cluster.directory is not None
    return cluster.directory / "handled"


Entries = list[Any]


def changed(recorded: Path, to: Path, change: Callable[[Entries], Entries]) -> list[Path]:
    """The same run with node 1's file changed."""
    for file in recorded.iterdir():
        entries = list(handled.read(file))
        log = handled.HandledLog(to / file.name)
        for entry in change(entries) if file.name.startswith("tally.1.") else entries:
            log.write(entry)
        log.close()
    return sorted(to.iterdir())


def first(entries: Entries, kind: str) -> int:
    return next(k for k, e in enumerate(entries) if getattr(e, "kind", "") == kind)


def twice(kind: str) -> Callable[[Entries], Entries]:
    def change(entries: Entries) -> Entries:
        k = first(entries, kind)
        return [*entries[: k + 1], entries[k], *entries[k + 1 :]]

    return change


def without(kind: str) -> Callable[[Entries], Entries]:
    def change(entries: Entries) -> Entries:
        k = first(entries, kind)
        return [*entries[:k], *entries[k + 1 :]]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (twice("message"), "has not sent it"),
        (twice("timer"), "early"),
        (without("timer"), "yields other effects|has not sent it"),
        (without("start"), "was not set"),
    ],
    ids=["a message twice", "a timer twice", "a handler left out", "no start"],
)
def test_a_run_that_the_model_does_not_allow_is_refused(
    recorded: Path, tmp_path: Path, change: Callable[[Entries], Entries], words: str
) -> None:
    with pytest.raises(Divergence, match=words):
        replay(Tally, changed(recorded, tmp_path / "changed", change))


def test_a_class_that_does_something_else_is_refused(recorded: Path) -> None:
    class Other(Tally):
        def on_tick(self) -> Effects:
            yield from super().on_tick()
            yield Record("note", "one effect more")

    with pytest.raises(Divergence, match="yields other effects"):
        replay(Other, recorded.iterdir())


def test_the_invariants_look_on(recorded: Path) -> None:
    class Never(Invariant):
        name, title = "T-2", "nobody counts"
        watches = (Count,)

        def sent(self, sim: Any, i: int, to: int, m: Count) -> None:
            raise Violation(self, f"rank {i} counted to {m.n}")

    with pytest.raises(Violation, match=r"nobody counts\) breaks: rank"):
        replay(Tally, recorded.iterdir(), (Never,))


def test_a_node_whose_timer_is_long_overdue_stood_still() -> None:
    """Nobody writes down when a real process was paused; what is read first when it goes on may
    come before the timers. Invariants give it time."""

    class Ticks(Protocol):
        def on_start(self) -> Effects:
            yield SetTimer("tick", 1.0)

        def on_tick(self) -> Effects:
            yield SetTimer("tick", 1.0)

    model, did = Replay(Ticks, 1), digest([SetTimer("tick", 1.0)])
    model.step(0, Begun(0.0, 0, 0, (0,), "seed", Codec({}).encode({})), None)
    model.step(0, Handled(0.0, "start", None, b"", did), None)
    ends = []
    for now in (1.01, 7.0, 8.0):
        model.step(0, Handled(now, "timer", None, encode(("tick", None)), did), None)
        ends.append(model.resumed(0))
    assert ends == [0.0, 7.0, 7.0]


@pytest.mark.parametrize(("now", "early"), [(0.49, True), (0.51, False), (1.6, False)])
def test_a_periodic_timer_may_come_half_a_period_early(now: float, early: bool) -> None:
    model, did = Replay(March, 1), digest([SetTimer("step", STEP, periodic=True)])
    model.step(0, Begun(0.0, 0, 0, (0,), "seed", Codec({}).encode({})), None)
    model.step(0, Handled(0.0, "start", None, b"", did), None)
    did = digest([Record("march"), SetTimer("step", STEP, periodic=True)])
    refused = pytest.raises(Divergence, match="early") if early else contextlib.nullcontext()
    with refused:
        model.step(0, Handled(now * STEP, "timer", None, encode(("step", None)), did), None)
