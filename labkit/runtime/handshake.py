"""Two ends prove to each other that they hold the cluster's token, which never crosses the wire.

By challenge and response, so that an old conversation cannot be replayed:

    acceptor  → magic, challenge_a
    connector → challenge_c, H(token, "connector" challenge_a challenge_c)
    acceptor  → H(token, "acceptor" challenge_a challenge_c)

and both derive one key for each direction from token and challenges.
"""

from __future__ import annotations

import hmac
import os
from typing import NamedTuple

MAGIC = b"labkit/1"


class Stranger(Exception):
    """The other end does not hold the token."""


class Keys(NamedTuple):
    send: bytes
    receive: bytes


class Handshake:
    """One end's part of it. The acceptor begins, with its `greeting`."""

    def __init__(self, token: bytes, connector: bool) -> None:
        self.connector = connector
        self.keys: Keys | None = None
        self.proved = False  # by the other end
        self._token = token
        self._challenge = os.urandom(16)
        self._expected: bytes | None = None  # the acceptor's proof, once the connector can tell

    @property
    def greeting(self) -> bytes:
        return MAGIC + self._challenge

    def answer(self, frame: bytes) -> bytes | None:
        """What is to be said to this, if anything. Raises Stranger."""
        if not self.connector:
            return self._verify_connector(frame)
        if self._expected is None:
            return self._prove(frame)
        if not hmac.compare_digest(frame, self._expected):
            raise Stranger
        self.proved = True
        return None

    def _prove(self, frame: bytes) -> bytes:
        """The connector's part: proves the token by the acceptor's challenge, and poses its own."""
        if not frame.startswith(MAGIC) or len(frame) != len(MAGIC) + 16:
            raise Stranger
        challenges = frame[len(MAGIC) :], self._challenge
        self._derive_keys(*challenges)
        self._expected = self._proof(b"acceptor", *challenges)
        return self._challenge + self._proof(b"connector", *challenges)

    def _verify_connector(self, frame: bytes) -> bytes:
        """The acceptor's part: believes a right proof, and gives its own."""
        challenges = self._challenge, frame[:16]
        if not hmac.compare_digest(frame[16:], self._proof(b"connector", *challenges)):
            raise Stranger
        self._derive_keys(*challenges)
        self.proved = True
        return self._proof(b"acceptor", *challenges)

    def _derive_keys(self, challenge_a: bytes, challenge_c: bytes) -> None:
        upward = self._proof(b"connector to acceptor", challenge_a, challenge_c)
        downward = self._proof(b"acceptor to connector", challenge_a, challenge_c)
        self.keys = Keys(upward, downward) if self.connector else Keys(downward, upward)

    def _proof(self, who: bytes, *challenges: bytes) -> bytes:
        return hmac.digest(self._token, who + b"".join(challenges), "sha256")
