"""What a stranger, or a broken peer, can do to a live worker: nothing but be counted."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest

from labkit import Cluster, faults
from labkit.runtime import wire
from labkit.runtime.handshake import Handshake
from labkit.runtime.loop import Loop
from labkit.runtime.messages import CODEC, Cancel, PeerHello, Roster
from labkit.runtime.peers import Peers
from labkit.view import Member, View

TOKEN = b"0123456789abcdef" * 2


@pytest.fixture
def loop() -> Iterator[Loop]:
    errors: list[str] = []
    loop = Loop("test", errors.append)
    loop.start()
    yield loop
    loop.stop()
    assert not errors, errors[0]


class End:
    """One side of a conversation; `heard` are its messages."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.connection: wire.Connection | None = None
        self.heard: list[object] = []
        self.closed = False

    def on_ready(self, connection: wire.Connection) -> None:
        with self.changed:
            self.connection = connection
            self.changed.notify_all()

    def on_message(self, connection: wire.Connection, message: object) -> None:
        with self.changed:
            self.heard.append(message)
            self.changed.notify_all()

    def on_close(self, connection: wire.Connection) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def wait(self, true: object) -> None:
        with self.changed:
            assert self.changed.wait_for(true, 10.0)  # type: ignore[arg-type]


@pytest.fixture
def ends(loop: Loop) -> Iterator[tuple[End, End]]:
    server, client = End(), End()
    listener = wire.bind("127.0.0.1")
    hears = server.on_ready, server.on_message, server.on_close
    loop.call(lambda: wire.listen(loop, listener, TOKEN, CODEC, *hears))
    address = listener.getsockname()
    loop.call(
        lambda: wire.connect(
            loop, address, TOKEN, CODEC, client.on_ready, client.on_message, client.on_close
        )
    )
    for end in (server, client):
        end.wait(lambda end=end: end.connection is not None)
    server.address = address  # type: ignore[attr-defined]
    yield server, client
    loop.call(lambda: [e.connection.close() for e in (server, client) if e.connection])
    loop.call(lambda: (loop.unwatch(listener), listener.close()))


def raw(loop: Loop, end: End, data: bytes) -> None:
    assert end.connection is not None
    loop.call(lambda: end.connection._write(data))  # type: ignore[union-attr]


def reset_on_close(sock: socket.socket) -> None:
    """So that the next write of the other end fails."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_messages_pass_in_both_directions(loop: Loop, ends: tuple[End, End]) -> None:
    server, client = ends
    for sender, receiver in ((server, client), (client, server)):
        messages = [Cancel(n) for n in range(100)]
        for message in messages:
            loop.call_soon(sender.connection.send, message)  # type: ignore[union-attr]
        receiver.wait(lambda receiver=receiver: len(receiver.heard) == 100)
        assert receiver.heard == messages


def test_a_large_message_passes_whole(loop: Loop, ends: tuple[End, End]) -> None:
    server, client = ends
    message = Roster([(Member(n, n), ("::1", n)) for n in range(100_000)])
    connection = client.connection
    assert connection is not None
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    # While the loop runs this, the other end reads nothing: the kernel takes only a part.
    waiting = loop.call(lambda: (connection.send(message), connection.backlog)[1])
    assert 0 < waiting < len(CODEC.encode(message))
    server.wait(lambda: server.heard == [message])
    assert connection.backlog == 0


def test_replayed_forged_and_malformed_frames_are_dropped_and_counted(
    loop: Loop, ends: tuple[End, End]
) -> None:
    server, client = ends
    before = wire.rejected.copy()
    good = loop.call(lambda: client.connection.seal(CODEC.encode(Cancel(1))))  # type: ignore[union-attr]
    raw(loop, client, good)
    raw(loop, client, good)  # again
    forged = bytearray(loop.call(lambda: client.connection.seal(CODEC.encode(Cancel(2)))))  # type: ignore[union-attr]
    forged[-1] ^= 1
    raw(loop, client, bytes(forged))
    raw(loop, client, loop.call(lambda: client.connection.seal(b"no message")))  # type: ignore[union-attr]
    raw(loop, client, (wire.MAX_FRAME + 1).to_bytes(4, "big") + bytes(wire.MAX_FRAME + 1))
    loop.call_soon(client.connection.send, Cancel(3))  # type: ignore[union-attr]
    server.wait(lambda: Cancel(3) in server.heard)
    assert server.heard == [Cancel(1), Cancel(3)]
    counted = wire.rejected - before
    assert counted == {"replayed": 1, "unauthenticated": 1, "malformed": 1, "oversized": 1}


def test_the_wrong_token_gets_nowhere(loop: Loop, ends: tuple[End, End]) -> None:
    server, _ = ends
    stranger = End()
    heard = len(server.heard)
    loop.call(
        lambda: wire.connect(
            loop,
            server.address,  # type: ignore[attr-defined]
            b"wrong" * 8,
            CODEC,
            stranger.on_ready,
            stranger.on_message,
            stranger.on_close,
        )
    )
    stranger.wait(lambda: stranger.closed)
    assert stranger.connection is None
    assert len(server.heard) == heard


def test_a_recorded_conversation_cannot_be_played_again(loop: Loop, ends: tuple[End, End]) -> None:
    """The challenges of a new conversation differ, so the old answer proves nothing."""
    server, _ = ends
    old = Handshake(TOKEN, connector=True).answer(Handshake(TOKEN, connector=False).greeting)
    assert old is not None
    with socket.create_connection(server.address) as sock:  # type: ignore[attr-defined]
        sock.sendall(len(old).to_bytes(4, "big") + old)
        sock.settimeout(10.0)
        while sock.recv(4096):
            pass  # the greeting; then the end


def test_strangers_cannot_keep_friends_out(loop: Loop, ends: tuple[End, End]) -> None:
    server, _ = ends
    idle = [socket.create_connection(server.address) for _ in range(wire.MAX_STRANGERS + 20)]  # type: ignore[attr-defined]
    friend = End()
    loop.call(
        lambda: wire.connect(
            loop,
            server.address,  # type: ignore[attr-defined]
            TOKEN,
            CODEC,
            friend.on_ready,
            friend.on_message,
            friend.on_close,
        )
    )
    friend.wait(lambda: friend.connection is not None)
    for sock in idle:
        sock.close()


def test_strangers_that_are_gone_before_they_are_greeted_take_nobodys_place(loop: Loop) -> None:
    """Else they would be the oldest for ever, and no later one would be ended to make room."""
    hears = End()
    listener = wire.bind("127.0.0.1")
    address = listener.getsockname()
    for _ in range(wire.MAX_STRANGERS):
        gone = socket.create_connection(address)
        reset_on_close(gone)
        gone.close()
    callbacks = hears.on_ready, hears.on_message, hears.on_close
    loop.call(lambda: wire.listen(loop, listener, TOKEN, CODEC, *callbacks))
    idle = [socket.create_connection(address) for _ in range(wire.MAX_STRANGERS + 1)]

    idle[0].settimeout(wire.HANDSHAKE_SECONDS / 2)
    while idle[0].recv(4096):
        pass  # the greeting; then the end, long before its time is up

    for sock in idle:
        sock.close()
    loop.call(lambda: (loop.unwatch(listener), listener.close()))


def test_a_peer_that_breaks_while_links_heal_keeps_nothing_from_the_others(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "conditions", faults.Conditions())
    peers = Peers(loop, Member(0, 0), TOKEN, lambda *_: None, lambda _: None, lambda _: None)
    peers.membership = SimpleNamespace(alive=(), excluded=(), view=View(0, ()), expect=list)  # type: ignore[assignment]
    listener, ends = wire.bind("127.0.0.1"), (End(), End())
    loop.call(lambda: peers.listen(listener))
    address = listener.getsockname()
    for rank, end in enumerate(ends, 1):
        hears = end.on_ready, end.on_message, end.on_close
        loop.call(lambda hears=hears: wire.connect(loop, address, TOKEN, CODEC, *hears))
        end.wait(lambda end=end: end.connection is not None)
        loop.call(lambda end=end, rank=rank: end.connection.send(PeerHello(Member(rank, 0))))
        end.wait(lambda end=end: end.heard)
        faults.conditions.apply(faults.Delay(0, rank, 60.0))
        loop.call(lambda rank=rank: peers.send(rank, Cancel(rank)))

    def heal() -> None:
        assert ends[0].connection is not None
        reset_on_close(ends[0].connection.sock)
        ends[0].connection.close()
        faults.conditions.apply(faults.Heal())
        peers.flush()

    loop.call(heal)
    ends[1].wait(lambda: ends[1].heard[1:] == [Cancel(2)])
    loop.call(lambda: [peer.close() for peer in [*peers._connections.values()]])
    loop.call(lambda: (loop.unwatch(listener), listener.close()))


def test_ten_thousand_malformed_frames_against_a_live_worker(cluster: Cluster) -> None:
    draw = random.Random(0)

    def step(worker):
        return worker.group.all_reduce(worker.tensor(10, fill=1.0))[0].item()

    run = cluster.run(step).wait()
    victim = cluster._driver.seats[2]
    pid, sent = victim.pid, 0
    while sent < 10_000:
        with socket.create_connection(victim.address) as sock:
            try:
                for _ in range(100):
                    sent += 1
                    body = draw.randbytes(draw.choice([0, 1, 7, 24, 48, 64, 65, 1000]))
                    length = draw.choice([len(body), 0, 2**32 - 1, draw.randrange(2**32)])
                    sock.sendall(length.to_bytes(4, "big") + body)
            except OSError:  # it has seen enough of us
                continue
    again = cluster.run(step).wait()
    assert again.results == run.results == dict.fromkeys(range(4), 4.0)
    assert cluster._driver.seats[2].pid == pid
    assert any("dropped a frame" in e.name for e in events_of(cluster, 2))


def addresses() -> set[str]:
    """Where this process listens."""
    connections = psutil.Process().net_connections("inet")
    return {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}


def test_strangers_on_other_machines_find_nobody_who_listens(cluster: Cluster) -> None:
    def where(worker):
        worker.group.barrier()
        return addresses()

    found = cluster.run(where).wait().results
    assert found == {rank: {"127.0.0.1"} for rank in range(4)}
    assert addresses() == {"127.0.0.1"}


def test_authenticated_nonsense_does_not_end_a_worker(cluster: Cluster, loop: Loop) -> None:
    """Who holds the token may still send what no member would say."""
    driver = cluster._driver
    victim = driver.seats[1]
    friend = End()
    loop.call(
        lambda: wire.connect(
            loop,
            victim.address,
            driver.token,
            CODEC,
            friend.on_ready,
            friend.on_message,
            friend.on_close,
        )
    )
    friend.wait(lambda: friend.connection is not None)
    for n in range(1000):
        loop.call_soon(friend.connection.send, Cancel(n))  # type: ignore[union-attr]
        loop.call(lambda: friend.connection._write(friend.connection.seal(os.urandom(20))))  # type: ignore[union-attr]
    run = cluster.run(lambda worker: worker.group.size).wait()
    assert run.results == dict.fromkeys(range(4), 4)
    loop.call(friend.connection.close)  # type: ignore[union-attr]


def events_of(cluster: Cluster, rank: int):
    from labkit import events

    return [e for e in events.read(cluster.directory / "events") if e.rank == rank]
