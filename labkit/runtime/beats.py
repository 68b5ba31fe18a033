"""Heartbeats beside the connections: datagrams, which lie in the kernel until their receiver looks.

A beat says that its sender lives, and nobody asks before the next tick. On a connection each wakes
the receiver's host all the same, in the middle of a training step: 80 times a second, with five
members. Here all that have come are read together, just before a timer may take their silence for
a death, and one frame goes to everybody. (corosync, SWIM and Serf beat over UDP as well.)

A frame is `rank | authenticator | payload`: 4 bytes, 16 bytes keyed BLAKE2b, the rest. The key is
made of the cluster's token and of a salt that each life of a member draws, and tells its peers by
their connections. Nothing here counts the frames: beats are numbered, and a second copy of one
proves nothing.

Not every network lets datagrams pass. So beats go by the connection too, until the receiver has
said that a datagram has come.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from labkit.protocols.codec import encode
from labkit.protocols.effects import Message
from labkit.runtime import wire
from labkit.runtime.loop import Loop
from labkit.runtime.messages import Arrived, PeerHello
from labkit.runtime.outbox import Outbox

if TYPE_CHECKING:
    from labkit.runtime.engine import Node

LARGEST = 1024
"""Bytes; a beat has a tenth of it."""
AT_ONCE = 1000
"""Datagrams that are read before a timer: a flood of them does not keep it from its time."""


class Way:
    """To and from one peer: `connection` has its stream, `outbox` what leaves as datagrams."""

    def __init__(self, connection: wire.Connection, outbox: Outbox, key: Any) -> None:
        self.connection, self.outbox, self.key = connection, outbox, key
        self.arrives = False  # the peer has said that datagrams do
        self.heard = False  # one has come from there


class Beats:
    """Of the member of this `rank`, whose peers are reached from `address`. Belongs to the loop's
    thread."""

    node: Node  # whose broadcasts these are

    def __init__(self, loop: Loop, rank: int, address: str, token: bytes) -> None:
        self.loop, self.rank, self.token = loop, rank, token
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((address, 0))
        self.port: int = self._socket.getsockname()[1]
        self.salt = os.urandom(16)
        self._sign, self._key = _sign(rank), self._key_of(self.salt)
        self._ways: dict[int, Way] = {}
        loop.before_timers(self._read)

    def of(self, node: Node) -> None:
        """Carries what this node has to say to all."""
        self.node, node.on_broadcast = node, self._broadcast

    def meet(self, rank: int, peer: wire.Connection, hello: PeerHello) -> None:
        """From now on it hears of this rank, and is heard."""
        with contextlib.suppress(OSError):  # it is broken already, and will be closed
            address = peer.sock.getpeername()[0], hello.port
            outbox = Outbox(self.loop, self.rank, rank, partial(self._send, address))
            self._ways[rank] = Way(peer, outbox, self._key_of(hello.salt))

    def part(self, rank: int) -> None:
        """What still comes from there is not heard."""
        way = self._ways.pop(rank, None)
        if way is not None:
            way.outbox.close()

    def arrived(self, rank: int) -> None:
        """This rank says that a datagram has come there."""
        if rank in self._ways:
            self._ways[rank].arrives = True

    def flush(self) -> None:
        """A fault on the links begins or ends."""
        for way in self._ways.values():
            way.outbox.flush()

    def _key_of(self, salt: bytes) -> Any:
        """A hash that has taken in its key: a copy of it is cheaper than another one."""
        key = hmac.digest(self.token, b"beats" + salt, "sha256")
        return hashlib.blake2b(digest_size=16, key=key)

    # -- sending

    def _broadcast(self, everybody: tuple[int, ...], message: Message) -> None:
        payload = encode(message)
        frame = self._sign + _authenticator(self._key, self._sign + payload) + payload
        for rank in everybody:
            way = self._ways.get(rank)
            if way is None:
                continue
            way.outbox.put(frame, reliable=False)
            if not way.arrives:
                self.node.send(rank, payload)

    def _send(self, address: tuple[str, int], frame: bytes) -> None:
        with contextlib.suppress(OSError):  # no room, or no way: it is lost
            self._socket.sendto(frame, address)

    # -- receiving

    def _read(self) -> None:
        for _ in range(AT_ONCE):
            try:
                frame = self._socket.recv(LARGEST)
            except BlockingIOError:
                return
            except OSError:  # one that was sent before met nobody
                continue
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        sign, payload = frame[:4], frame[20:]
        rank = int.from_bytes(sign, "big")
        way = self._ways.get(rank)
        if way is None:
            return None  # of one who is lost, or not met yet
        if not hmac.compare_digest(frame[4:20], _authenticator(way.key, sign + payload)):
            return wire.reject("unauthenticated")
        if not way.heard:
            way.heard = True
            way.connection.send(Arrived())
        return self.node.deliver(rank, payload)


def _sign(rank: int) -> bytes:
    return rank.to_bytes(4, "big")


def _authenticator(key: Any, data: bytes) -> bytes:
    mac = key.copy()
    mac.update(data)
    return mac.digest()
