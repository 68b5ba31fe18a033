"""Raft on real processes: kills, a paused leader, restarts; the whole run is replayed through the
model with all of Raft's invariants on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import pytest
from outside import wait_until

from labkit import Cluster, events
from labkit.events import Event
from labkit.protocols.effects import Command, Effects, Record, Send, SetTimer
from labkit.protocols.raft import Raft
from labkit.protocols.raft.client import Call
from labkit.protocols.raft.machine import Append, Get, execute, notices
from labkit.protocols.raft.reads import ClientRead
from labkit.protocols.raft.sessions import ClientReply, ClientRequest
from labkit.simulator.invariants.raft import INVARIANTS
from labkit.simulator.linearizability import check
from labkit.simulator.replay import Replay, replay


def recorded(cluster: Cluster, name: str) -> list[Event]:
    assert cluster.directory is not None
    files = (cluster.directory / "events").glob("rank*")
    return sorted(
        (e for f in files for e in events.read(f) if e.name == name), key=lambda e: e.time
    )


def leader_after(cluster: Cluster, moment: float = 0.0) -> int:
    def elected() -> list[int]:
        return [e.rank for e in recorded(cluster, "becomes leader") if e.time > moment]

    wait_until(elected, "no leader")
    return elected()[-1]


class Asking(Raft):
    """A node that is a client as well: it appends to one key and reads it, on and on."""

    call: tuple[int, Command] | None = None

    def on_start(self) -> Effects:
        yield from super().on_start()
        yield SetTimer("ask", 0.01)

    def on_ask(self) -> Effects:
        yield SetTimer("ask", 0.02)
        draw = self.context.random
        if self.call is None:
            serial = int(self.context.now * 1e6)  # grows, also from one life to the next
            command = Get("x") if draw.random() < 0.5 else Append("x", f"{serial}.")
            self.call = serial, command
            yield Record("call", "invoked", serial=serial, read=isinstance(command, Get))
        serial, command = self.call
        kind = ClientRead if isinstance(command, Get) else ClientRequest
        server = draw.choice(self.members) if self.leader is None else self.leader
        yield Send(server, kind(serial, command))

    def on_client_reply(self, server: int, m: ClientReply) -> Effects:
        if self.call is not None and m.serial == self.call[0] and m.done:
            self.call = None
            yield Record("call", "returned", serial=m.serial, result=m.result)


def history(cluster: Cluster) -> list[Call]:
    """A call that did not return may have taken effect or not; a read then says nothing."""
    returned = {(e.rank, e.data["serial"]): e for e in recorded(cluster, "returned")}
    calls = []
    for e in recorded(cluster, "invoked"):
        end, serial = returned.get((e.rank, e.data["serial"])), e.data["serial"]
        command = Get("x") if e.data["read"] else Append("x", f"{serial}.")
        if end is not None:
            calls.append(Call(e.rank, command, e.time, end.time, end.data["result"]))
        elif not e.data["read"]:
            calls.append(Call(e.rank, command, e.time))
    return calls


NODE = partial(Asking, timeout=0.15)


def accepted(cluster: Cluster) -> Replay:
    """Every step is one that the model allows, and what clients saw is linearizable."""
    assert cluster.directory is not None
    verdict = check(history(cluster), execute, notices=notices)
    assert verdict, verdict.reason
    return replay(NODE, (cluster.directory / "handled").glob("raft.*"), INVARIANTS)


def answers(cluster: Cluster, rank: int, count: int) -> None:
    """Waits for so many more returned calls of that rank."""

    def returned() -> int:
        return sum(e.rank == rank for e in recorded(cluster, "returned"))

    before = returned()
    wait_until(lambda: returned() >= before + count, f"rank {rank} has no answers")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(3, backend="gloo", device="cpu", protocols={"raft": NODE}) as cluster:
        yield cluster


@pytest.mark.case(44)
def test_leaders_that_die_and_come_back(cluster: Cluster) -> None:
    leader = leader_after(cluster)
    for _ in range(3):
        answers(cluster, (leader + 1) % 3, 5)
        leader = leader_after(cluster)  # on a busy machine it may be another by now
        now = time.monotonic()
        cluster.kill(leader)
        successor = leader_after(cluster, now)
        assert successor != leader
        answers(cluster, successor, 5)
        cluster.restart(leader)
        answers(cluster, leader, 5)
    cluster.close()
    model = accepted(cluster)
    assert model.lives == 6
    assert max(node.term for node in model.nodes.values()) >= 4


@pytest.mark.case(46)
def test_a_paused_leader_steps_down_when_it_wakes_and_serves_no_stale_read(
    cluster: Cluster,
) -> None:
    answers(cluster, leader_after(cluster), 5)
    leader = leader_after(cluster)
    now = time.monotonic()
    cluster.pause(leader)
    successor = leader_after(cluster, now)
    assert successor != leader
    answers(cluster, successor, 10)
    resumed = time.monotonic()
    cluster.resume(leader)
    answers(cluster, leader, 10)
    cluster.close()
    stepped_down = [e for e in recorded(cluster, "becomes follower") if e.rank == leader]
    assert any(e.time > resumed for e in stepped_down)
    accepted(cluster)


@pytest.mark.case(46)
def test_a_leader_that_is_cut_off_is_replaced_and_follows_once_it_is_back(
    cluster: Cluster,
) -> None:
    answers(cluster, leader_after(cluster), 5)
    leader = leader_after(cluster)
    others = [rank for rank in range(3) if rank != leader]
    now = time.monotonic()
    cluster.partition([leader], others)
    successor = leader_after(cluster, now)
    answers(cluster, successor, 10)
    cluster.heal()
    answers(cluster, leader, 10)
    cluster.close()
    accepted(cluster)
