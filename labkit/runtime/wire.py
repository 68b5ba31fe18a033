"""Frames on a socket: who sent this, is it whole, is it new?

A frame is `length | authenticator | counter | payload`: 4 bytes big-endian, 16 bytes keyed BLAKE2b
over counter and payload, 8 bytes counting up per direction, a msgpack message. The keys come from
a handshake (`handshake.py`). A frame that is malformed, oversized, unauthenticated or replayed is
dropped and counted; it never ends the process, and nothing of it is decoded before its
authenticator has been found right.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import selectors
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec

from labkit import events
from labkit.runtime.handshake import Handshake, Stranger
from labkit.runtime.loop import Loop

MAX_FRAME = 256 << 20
"""Bytes. Functions and results travel here; gradients and large state do not."""
MAX_GREETING = 64
HANDSHAKE_SECONDS = 10.0
MAX_STRANGERS = 64
"""Connections of a listener that have not proved the token yet; one more ends the oldest."""
READ_BYTES = 1 << 20
_LENGTH, _COUNTER = struct.Struct(">I"), struct.Struct(">Q")

rejected: Counter[str] = Counter()
"""What this process dropped, by reason."""


def reject(reason: str) -> None:
    rejected[reason] += 1
    n = rejected[reason]
    if n & (n - 1) == 0:  # a flood is one line for each doubling
        events.record("note", f"dropped a frame: {reason}", total=n)


def _mac(key: bytes, data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=16, key=key).digest()


class Codec:
    """Typed messages to bytes and back: a `Union` of tagged `msgspec.Struct`s, nothing else."""

    def __init__(self, messages: Any) -> None:
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode = msgspec.msgpack.Decoder(messages).decode


class Connection:
    """One authenticated conversation. All methods belong to the loop's thread.

    `on_ready(connection)` when both ends have proved the token, `on_message(connection, message)`
    for every good frame, `on_close(connection)` once, whatever ends it.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        token: bytes,
        codec: Codec,
        on_ready: Callable[[Connection], None],
        on_message: Callable[[Connection, Any], None],
        on_close: Callable[[Connection], None],
        connector: bool,
    ) -> None:
        self.loop, self.sock, self.codec = loop, sock, codec
        self.on_ready, self.on_message, self.on_close = on_ready, on_message, on_close
        self.ready = self.closed = False
        self.peer: Any = None  # whoever owns the connection notes here whom it talks to
        self.connector = connector
        self._handshake = Handshake(token, connector)
        self._received = bytearray()
        self._skip = 0
        self._outgoing: deque[memoryview] = deque()
        self.backlog = 0  # bytes that the kernel has not taken yet
        self._sent = self._seen = 0
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # not a TCP socket
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._patience = loop.call_later(HANDSHAKE_SECONDS, self._too_slow)
        loop.watch(sock, self._on_io)
        if not connector:
            self._write(self._framed(self._handshake.greeting))

    # -- sending

    def send(self, message: Any) -> None:
        if self.ready and not self.closed:
            self._write(self.seal(self.codec.encode(message)))

    def seal(self, payload: bytes) -> bytes:
        """The next frame of this direction around `payload`."""
        self._sent += 1
        counted = _COUNTER.pack(self._sent) + payload
        return self._framed(_mac(self._keys.send, counted) + counted)

    @staticmethod
    def _framed(body: bytes) -> bytes:
        return _LENGTH.pack(len(body)) + body

    def _write(self, data: bytes) -> None:
        taken = 0 if self._outgoing else self._push(data)
        if taken < len(data) and not self.closed:
            self._outgoing.append(memoryview(data)[taken:])
            self.backlog += len(data) - taken
            self.loop.watch(self.sock, self._on_io, write=True)

    def _push(self, data: bytes | memoryview) -> int:
        """How many bytes the kernel takes now."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return 0

    def _flush(self) -> None:
        while self._outgoing:
            data = self._outgoing.popleft()
            taken = self._push(data)
            self.backlog -= taken
            if taken < len(data):
                self._outgoing.appendleft(data[taken:])
                return
        self.loop.watch(self.sock, self._on_io)

    # -- receiving

    def _on_io(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush()
        if mask & selectors.EVENT_READ and not self.closed:
            try:
                data = self.sock.recv(READ_BYTES)
            except BlockingIOError:
                return None
            except OSError:
                data = b""
            if not data:
                return self.close()
            self._received += data
            self._take_frames()

    def _take_frames(self) -> None:
        while not self.closed:
            if self._skip:
                n = min(self._skip, len(self._received))
                del self._received[:n]
                self._skip -= n
            if self._skip or len(self._received) < 4:
                return
            (length,) = _LENGTH.unpack_from(self._received)
            if length > (MAX_FRAME if self.ready else MAX_GREETING):
                self._oversized(length)
            elif len(self._received) < 4 + length:
                return
            else:
                frame = bytes(self._received[4 : 4 + length])
                del self._received[: 4 + length]
                self._on_frame(frame)

    def _oversized(self, length: int) -> None:
        reject("oversized")
        if not self.ready:
            return self.close()  # a stranger's bytes are not worth reading
        self._skip = 4 + length

    def _on_frame(self, frame: bytes) -> None:
        if not self.ready:
            return self._on_greeting(frame)
        counted = memoryview(frame)[16:]
        if len(counted) < 8 or not hmac.compare_digest(
            frame[:16], _mac(self._keys.receive, counted)
        ):
            return reject("unauthenticated")
        (counter,) = _COUNTER.unpack_from(counted)
        if counter <= self._seen:
            return reject("replayed")
        self._seen = counter
        try:
            message = self.codec.decode(counted[8:])
        except (msgspec.DecodeError, msgspec.ValidationError):
            return reject("malformed")
        self.on_message(self, message)

    # -- the handshake

    def _on_greeting(self, frame: bytes) -> None:
        try:
            answer = self._handshake.answer(frame)
        except Stranger:
            reject("unauthenticated")
            return self.close()
        if answer is not None:
            self._write(self._framed(answer))
        if self._handshake.proved:
            self._become_ready()

    def _become_ready(self) -> None:
        if self.closed:  # the last write found the other end gone
            return
        assert self._handshake.keys is not None
        self._keys = self._handshake.keys
        self.ready = True
        self._patience.cancel()
        self.on_ready(self)

    def _too_slow(self) -> None:
        if not self.connector:
            reject("unauthenticated")
        self.close()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._patience.cancel()
        self.loop.unwatch(self.sock)
        self.sock.close()
        self.on_close(self)


def bind(address: str) -> socket.socket:
    """A port of the kernel's choice, where connections wait until somebody listens."""
    return socket.create_server((address, 0), backlog=128)


def listen(
    loop: Loop,
    server: socket.socket,
    token: bytes,
    codec: Codec,
    on_ready: Callable[[Connection], None],
    on_message: Callable[[Connection, Any], None],
    on_close: Callable[[Connection], None],
) -> None:
    """Accepts connections. The callbacks hear of one only after it has proved the token."""
    server.setblocking(False)
    strangers: dict[Connection, None] = {}  # in order of arrival

    def ready(connection: Connection) -> None:
        strangers.pop(connection, None)
        on_ready(connection)

    def closed(connection: Connection) -> None:
        strangers.pop(connection, None)
        if connection.ready:
            on_close(connection)

    def accept(mask: int) -> None:
        with contextlib.suppress(OSError):
            sock, _ = server.accept()
            if len(strangers) >= MAX_STRANGERS:
                reject("crowded")
                next(iter(strangers)).close()
            stranger = Connection(
                loop, sock, token, codec, ready, on_message, closed, connector=False
            )
            if not stranger.closed:  # it was not gone before the greeting
                strangers[stranger] = None

    loop.watch(server, accept)


def connect(
    loop: Loop,
    address: tuple[str, int],
    token: bytes,
    codec: Codec,
    on_ready: Callable[[Connection], None],
    on_message: Callable[[Connection, Any], None],
    on_close: Callable[[Connection], None],
    wait: bool = False,
) -> Connection:
    """Starts a conversation. The loop's thread only.

    A lost host gives no answer: who cannot be reached at `address`, an IP address, is a connection
    that closes. Raises OSError where there is no way; with `wait`, a name will do for an address,
    and OSError also says that nobody listens there.
    """
    sock = socket.create_connection(address, timeout=5.0) if wait else _set_out(address)
    return Connection(loop, sock, token, codec, on_ready, on_message, on_close, connector=True)


def _set_out(address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    sock.setblocking(False)
    error = sock.connect_ex(address)
    if error not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(error, os.strerror(error))
    return sock
