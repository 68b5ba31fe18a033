"""Heartbeats by datagrams: they wake nobody, strangers are dropped, nothing relies on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import Cluster
from labkit.runtime.run import Run

SILENCE = 1.2
"""Seconds; long enough for a test machine whose cores are all busy."""
BEATS = 10


@pytest.fixture
def watched() -> Iterator[Cluster]:
    with Cluster(3, silence=SILENCE) as cluster:
        yield cluster


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20.0
    while not true():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.01)


def nobody_is_suspected(run: Run) -> bool:
    return not run.deaths and not any(e.kind in ("lost", "suspect") for e in run.events)


def hear(worker: Any, beats: int) -> None:
    """Waits for so many more beats of everybody."""
    detector = worker._host.membership.beats.machine
    first = dict(detector.heard)
    until(lambda: all(detector.heard[p][1] >= first[p][1] + beats for p in detector.peers))


def all_arrive(worker: Any) -> None:
    """Every peer has said that datagrams of this rank have come."""
    until(lambda: all(way.arrives for way in worker._host._peers.beats._ways.values()))


def test_once_they_are_known_to_arrive_no_beat_goes_by_a_connection(watched: Cluster) -> None:
    def count(worker: Any) -> int:
        host, by_connection = worker._host, []
        all_arrive(worker)
        send = host._engine.send

        def counting(rank: int, said: Any) -> None:
            if said.group == "beats":
                by_connection.append(said)
            send(rank, said)

        host._engine.send = counting
        hear(worker, BEATS)
        return len(by_connection)

    run = watched.run(count).wait()

    assert run.results == {0: 0, 1: 0, 2: 0}
    assert nobody_is_suspected(run)


def test_where_no_datagram_arrives_the_connections_carry_them(watched: Cluster) -> None:
    """As behind a firewall that lets connections pass only."""

    def lose(worker: Any) -> None:
        beats = worker._host._peers.beats
        all_arrive(worker)
        worker.group.barrier()
        sends = {rank: way.outbox.send for rank, way in beats._ways.items()}
        for way in beats._ways.values():
            way.outbox.send, way.arrives = (lambda frame: None), False
        worker.group.barrier()
        hear(worker, BEATS)
        worker.group.barrier()
        for rank, way in beats._ways.items():
            way.outbox.send, way.arrives = sends[rank], True

    run = watched.run(lose).wait()

    assert nobody_is_suspected(run)


def test_what_a_stranger_sends_is_dropped_and_counted(watched: Cluster) -> None:
    def flood(worker: Any) -> tuple[int, bool]:
        import os
        import socket

        from labkit.protocols.codec import encode
        from labkit.protocols.heartbeat import Beat
        from labkit.runtime import wire

        beats = worker._host._peers.beats
        detector = worker._host.membership.beats.machine
        before = wire.rejected["unauthenticated"]
        forged = encode(Beat(life=1000, serial=1, progress=0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for peer in detector.peers:
                sign = peer.to_bytes(4, "big")
                for body in (b"", forged, os.urandom(16) + forged, os.urandom(2000)):
                    stranger.sendto(sign + body, ("127.0.0.1", beats.port))
        expected = before + 4 * len(detector.peers)
        until(lambda: wire.rejected["unauthenticated"] == expected)
        hear(worker, BEATS)
        return wire.rejected["unauthenticated"] - expected, max(detector.heard.values()) < (1000, 0)

    run = watched.run(flood).wait()

    assert run.results == dict.fromkeys(range(3), (0, True))
    assert nobody_is_suspected(run)
