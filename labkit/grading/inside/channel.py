"""Messages over a socket between the grader and one process in a jail: lists, in msgpack, each
behind its length in four bytes. Either end may be hostile to the other: lengths are limited."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

import msgspec

LIMIT = 8 << 20
"""Bytes of one message."""
BUDGET = 128 << 20
"""Bytes that one process in a jail may say in all: the grader keeps some of it."""


class Ended(Exception):
    """The other end is gone."""


class Late(Exception):
    """The deadline has passed."""


class Garbled(Exception):
    """What came is not one of our messages."""


class Channel:
    """`deadline` is a time of `time.monotonic`; None waits for ever, as a jail does."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.deadline: float | None = None
        self.received = 0

    def send(self, *message: Any) -> None:
        """Raises Ended, Late."""
        body = msgspec.msgpack.encode(message)
        if len(body) > LIMIT:
            raise Garbled(f"a message of {len(body) >> 20} MiB; {LIMIT >> 20} MiB may pass")
        self._patience()
        try:
            self.socket.sendall(struct.pack("!I", len(body)) + body)
        except TimeoutError:
            raise Late from None
        except OSError:
            raise Ended from None

    def receive(self) -> list[Any]:
        """The next message, a list that begins with a text. Raises Ended, Late, Garbled."""
        (length,) = struct.unpack("!I", self._take(4))
        self.received += length
        if self.deadline is not None and self.received > BUDGET:
            raise Garbled(f"more than {BUDGET >> 20} MiB have come from the jail")
        if length > LIMIT:
            raise Garbled(f"a message of {length >> 20} MiB; {LIMIT >> 20} MiB may pass")
        try:
            message = msgspec.msgpack.decode(self._take(length))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise Garbled("what came from the jail is not a message") from None
        if type(message) is not list or not message or type(message[0]) is not str:
            raise Garbled("what came from the jail is not a message")
        return message

    def _take(self, count: int) -> bytes:
        taken = bytearray()
        while len(taken) < count:
            self._patience()
            try:
                part = self.socket.recv(min(count - len(taken), 1 << 20))
            except TimeoutError:
                raise Late from None
            except OSError:
                raise Ended from None
            if not part:
                raise Ended
            taken += part
        return bytes(taken)

    def _patience(self) -> None:
        if self.deadline is None:
            return
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Late
        self.socket.settimeout(left)
