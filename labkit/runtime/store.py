"""The key–value store through which the members of a group find each other.

torch's own `TCPStore` looks a name up at every connect and stalls for seconds where DNS does not
answer, and its server is one more process that can die at the wrong moment. This store lives on
the lab's wire and belongs to one epoch (one forming of one group): its lowest member keeps the
data, and when a member dies the epoch is over anyway.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
from torch.distributed import Store

from labkit.runtime.messages import StoreReply, StoreRequest

Reply = Callable[[StoreReply], Any]
KEPT_EPOCHS = 16


class _Waiting(NamedTuple):
    request: StoreRequest
    reply: Reply


class StoreServer:
    """The data of all epochs that this member keeps. Belongs to the host's thread.

    A `get` or `wait` for a key that is not there is answered when it comes.
    """

    def __init__(self) -> None:
        self.epochs: dict[str, dict[str, bytes]] = {}
        self.waiting: list[_Waiting] = []

    def handle(self, request: StoreRequest, reply: Reply) -> None:
        if request.epoch not in self.epochs:
            while len(self.epochs) >= KEPT_EPOCHS:
                self.epochs.pop(next(iter(self.epochs)))
            self.waiting = [w for w in self.waiting if w.request.epoch in self.epochs]
        data = self.epochs.setdefault(request.epoch, {})
        if request.operation in ("get", "wait"):
            self._answer_when_there(_Waiting(request, reply), data)
            return
        values, number = self._change(data, request)
        reply(StoreReply(request.id, values, number))
        for waiting in self.waiting[:]:
            if waiting.request.epoch == request.epoch:
                self.waiting.remove(waiting)
                self._answer_when_there(waiting, data)

    def _answer_when_there(self, waiting: _Waiting, data: dict[str, bytes]) -> None:
        request = waiting.request
        if all(key in data for key in request.keys):
            values = tuple(data[key] for key in request.keys) if request.operation == "get" else ()
            waiting.reply(StoreReply(request.id, values))
        else:
            self.waiting.append(waiting)

    @staticmethod
    def _change(data: dict[str, bytes], request: StoreRequest) -> tuple[tuple[bytes, ...], int]:
        match request:
            case StoreRequest(operation="set", keys=keys, values=values):
                data.update(zip(keys, values, strict=True))
            case StoreRequest(operation="add", keys=(key,), amount=amount):
                total = int(data.get(key, b"0")) + amount
                data[key] = str(total).encode()
                return (), total
            case StoreRequest(operation="compare_set", keys=(key,), values=(expected, desired)):
                if data.get(key, b"") == expected:
                    data[key] = desired
                return (data.get(key, expected),), 0
            case StoreRequest(operation="delete", keys=(key,)):
                return (), int(data.pop(key, None) is not None)
            case StoreRequest(operation="check", keys=keys):
                return (), int(all(key in data for key in keys))
            case StoreRequest(operation="count"):
                return (), len(data)
        return (), 0


class StoreClient:
    """What a host asks the stores of others, and its own. `send(rank, message)` says whether there
    is a connection. Belongs to the host's thread."""

    def __init__(self, me: int, send: Callable[[int, Any], bool]) -> None:
        self.me, self.send = me, send
        self.server = StoreServer()
        self.asked: dict[int, tuple[int, Future[StoreReply]]] = {}
        self.ids = itertools.count(1)

    def ask(self, owner: int, request: StoreRequest, future: Future[StoreReply]) -> None:
        numbered = msgspec.structs.replace(request, id=next(self.ids))
        if owner == self.me:
            self.server.handle(numbered, future.set_result)
            return
        self.asked[numbered.id] = owner, future
        if not self.send(owner, numbered):
            self.lost(owner)

    def serve(self, rank: int, request: StoreRequest) -> None:
        self.server.handle(request, lambda reply: self.send(rank, reply))

    def answered(self, reply: StoreReply) -> None:
        if reply.id in self.asked:
            self.asked.pop(reply.id)[1].set_result(reply)

    def lost(self, owner: int) -> None:
        """The connection is closed, or there is none."""
        error = ConnectionError(f"rank {owner}, the store's owner, is gone")
        for id in [id for id, (rank, _) in self.asked.items() if rank == owner]:
            self.asked.pop(id)[1].set_exception(error)


class WireStore(Store):  # type: ignore[misc]
    """`torch.distributed.Store` over the wire; every call waits for the owner's answer.

    `ask(request) -> Future[StoreReply]` sends it; a lost owner fails the future. Raises
    TimeoutError, naming the keys, after `timeout`.
    """

    def __init__(
        self, ask: Callable[[StoreRequest], Future[StoreReply]], epoch: str, seconds: float
    ) -> None:
        super().__init__()
        self._ask, self._epoch = ask, epoch
        self._timeout = timedelta(seconds=seconds)

    def _call(
        self,
        operation: str,
        keys: tuple[str, ...],
        values: tuple[bytes, ...] = (),
        amount: int = 0,
        timeout: timedelta | None = None,
    ) -> StoreReply:
        seconds = (timeout or self._timeout).total_seconds()
        reply = self._ask(StoreRequest(0, self._epoch, operation, keys, values, amount))
        try:
            return reply.result(seconds)
        except TimeoutError:
            raise TimeoutError(
                f"the store of group {self._epoch} had no {', '.join(keys)} within {seconds:g} s: "
                "a member of the group did not come"
            ) from None

    def set(self, key: str, value: bytes | str) -> None:
        self._call("set", (key,), (_bytes(value),))

    def get(self, key: str) -> bytes:
        return self._call("get", (key,)).values[0]

    def add(self, key: str, amount: int) -> int:
        return self._call("add", (key,), amount=amount).number

    def compare_set(self, key: str, expected: Any, desired: Any) -> bytes:
        return self._call("compare_set", (key,), (_bytes(expected), _bytes(desired))).values[0]

    def delete_key(self, key: str) -> bool:
        return bool(self._call("delete", (key,)).number)

    def check(self, keys: list[str]) -> bool:
        return bool(self._call("check", tuple(keys)).number)

    def num_keys(self) -> int:
        return self._call("count", ()).number

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        self._call("wait", tuple(keys), timeout=timeout)

    def set_timeout(self, timeout: timedelta) -> None:
        self._timeout = timeout

    @property
    def timeout(self) -> timedelta:
        return self._timeout

    def has_extended_api(self) -> bool:
        return False

    def clone(self) -> WireStore:
        return self


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
