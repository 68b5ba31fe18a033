"""relay.py SEED: carries the frames of hosts whose links are bad, late, slowly or not at all.

Started in the hub of a network (`network.py`), with nothing but Python's own library. Each line of
its input names the hosts that it serves from now on, and the faults of their links by the address
to which they lead; it answers `ok` when they are in force, and ends with its input.

A host's frames come in at `port` and leave at `stub`, the way to the bridge; what comes back passes
unchanged. A link sends one frame after the other at `rate` bytes a second, each of them arrives
`delay` seconds later, and `drop` is the probability that one is lost, as with tc-netem(8). A frame
is up to 64 kB: the kernel cuts them into packets when they reach real hardware.
"""

import contextlib
import heapq
import itertools
import json
import os
import random
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23  # linux/if_packet.h
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
EVERYTHING = 3  # ETH_P_ALL
IPV4 = b"\x08\x00"
HEADER = 10  # of a frame: struct virtio_net_hdr, whose checksum and segments are still to be made
LARGEST = 1 << 17
QUEUE_SECONDS, QUEUE_BYTES = 0.1, 1 << 18
"""What a slow link holds before it drops what comes (tail drop): so many seconds of its rate, and
not less than so many bytes."""


def card(name: str) -> socket.socket:
    """All frames that come in at this card."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 25)
    sock.bind((name, EVERYTHING))  # only now does it hear anything
    sock.setblocking(False)
    return sock


def send(sock: socket.socket, frame: bytes) -> None:
    with contextlib.suppress(OSError):  # the card is gone or its cable out: frames are lost there
        sock.send(frame)


class Link:
    """One way, to one address. `free` is when the frame before this one has been sent."""

    def __init__(self, cut: bool, delay: float, drop: float, rate: float) -> None:
        self.cut, self.delay, self.drop, self.rate = cut, delay, drop, rate
        self.free = 0.0

    def due(self, now: float, size: int, dice: random.Random) -> float | None:
        """When a frame of this size arrives; None when it is lost."""
        if self.cut or dice.random() < self.drop:
            return None
        if self.rate:
            queue = max(0.0, self.free - now)
            if queue > max(QUEUE_SECONDS, QUEUE_BYTES / self.rate):
                return None
            self.free = max(now, self.free) + size / self.rate
            now = self.free
        return now + self.delay


class Relay:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.selector = selectors.DefaultSelector()
        self.selector.register(0, selectors.EVENT_READ, self.listen)
        # By port: its socket, that of its stub, and the bad links by address
        self.lanes: dict[str, tuple[socket.socket, socket.socket, dict[bytes, Link]]] = {}
        self.late: list[tuple[float, int, socket.socket, bytes]] = []  # when due, and in which turn
        self.numbers = itertools.count()
        self.heard = b""

    def serve(self) -> None:
        while True:
            wait = max(0.0, self.late[0][0] - time.monotonic()) if self.late else None
            for key, _ in self.selector.select(wait):
                key.data()
            while self.late and self.late[0][0] <= time.monotonic():
                _, _, sock, frame = heapq.heappop(self.late)
                send(sock, frame)

    def listen(self) -> None:
        data = os.read(0, 1 << 20)
        if not data:
            sys.exit()
        *lines, self.heard = (self.heard + data).split(b"\n")
        for line in lines:
            self.change(json.loads(line))
            os.write(1, b"ok\n")

    def change(self, lanes: list[dict[str, Any]]) -> None:
        wanted = {lane["port"]: lane for lane in lanes}
        for port in [port for port in self.lanes if port not in wanted]:
            self.end(*self.lanes.pop(port)[:2])
        for port, lane in wanted.items():
            links = {socket.inet_aton(to): Link(*how) for to, how in lane["links"].items()}
            if port in self.lanes:
                self.lanes[port] = (*self.lanes[port][:2], links)
                continue
            here, there = card(port), card(lane["stub"])
            self.lanes[port] = here, there, links
            self.selector.register(here, selectors.EVENT_READ, partial(self.outwards, port))
            self.selector.register(there, selectors.EVENT_READ, partial(self.inwards, port))

    def end(self, *ends: socket.socket) -> None:
        self.late = [entry for entry in self.late if entry[2] not in ends]
        heapq.heapify(self.late)
        for sock in ends:
            self.selector.unregister(sock)
            sock.close()

    def outwards(self, port: str) -> None:
        if port not in self.lanes:  # it has just ended
            return
        here, there, links = self.lanes[port]
        for frame in received(here):
            ethernet = frame[HEADER:]
            link = links.get(ethernet[30:34]) if ethernet[12:14] == IPV4 else None
            if link is None:
                send(there, frame)
                continue
            due = link.due(time.monotonic(), len(frame), self.dice)
            if due is not None:
                heapq.heappush(self.late, (due, next(self.numbers), there, frame))

    def inwards(self, port: str) -> None:
        if port not in self.lanes:
            return
        here, there, _ = self.lanes[port]
        for frame in received(there):
            send(here, frame)


def received(sock: socket.socket, most: int = 32) -> Iterator[bytes]:
    """What has come, and not more: the other links are to have their turn."""
    for _ in range(most):
        try:
            yield sock.recv(LARGEST)
        except OSError:  # nothing more, or the card is gone
            return


if __name__ == "__main__":
    Relay(int(sys.argv[1])).serve()
