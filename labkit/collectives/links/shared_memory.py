"""A link through shared memory between the processes of one host.

For every ordered pair of ranks there is a mailbox of two slots. A sender copies a piece of its
message into a free slot and counts `written` up, the receiver copies it out and counts `read` up:
every counter has one writer, so no lock is needed. Everybody polls, so everybody can leave.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from labkit.collectives import tree
from labkit.collectives.link import Link, Message, raw
from labkit.collectives.links.segment import PAGE, share
from labkit.collectives.polling import poll

SLOTS = 2
OUTGOING = 1 << 20
"""Bytes of slots that one rank sends from, all receivers together."""
PIECE = 1 << 22
"""Bytes of a private tensor that `labkit.collectives.shared_memory` takes at a time: small enough
for a cache, and large enough that the ranks seldom wait (64 MiB beside a busy loop on two cores:
67 ms, and 129 ms in pieces of half the size; 17 ms with either on a quiet machine)."""
PIECES = 2
"""How many of them are under way: one is added up while the one before is copied out."""
APART = 17
"""Pages between the parts of a bucket: at a distance of a power of two, the same chunk of all of
them would fall into the same few places of a cache (8 MiB: 0.9 ms with it, 1.3 ms without)."""
LINE = 8
"""Counters of 8 bytes in a cache line; what two ranks write is never in one line."""


class Store(Protocol):
    """Brings the address of the memory to the other ranks, as torch's Store does."""

    def set(self, key: str, value: bytes, /) -> object: ...
    def get(self, key: str, /) -> bytes: ...


class SharedMemoryLink(Link):
    """Raises Abandoned when a wait lasts `deadline` seconds, so that a dead peer hangs nobody.

    The keys that it sets begin with `key`: another group needs another key, or a new store.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        store: Store,
        key: str = "shared_memory",
        members: Sequence[int] | None = None,
        deadline: float = 300.0,
    ) -> None:
        super().__init__(rank, size, members)
        self.deadline = deadline
        self.buckets: list[Tensor] = []  # [size, nbytes] each: everyone's part of one segment
        self.calls = self.pieces = 0  # of labkit.collectives.shared_memory, so far
        self._fence = threading.Lock()
        slot = max(1, OUTGOING // (SLOTS * size * PAGE)) * PAGE
        lines = size * LINE + size * size * 2 * LINE
        lengths = lines * 8, size * size * SLOTS * slot, PIECES * PIECE

        def announce(address: bytes | None) -> bytes:
            if address is not None:
                store.set(f"{key}/address", address)
            return store.get(f"{key}/address")

        def all_mapped() -> None:
            store.set(f"{key}/mapped/{rank}", b"1")
            for other in range(size):
                store.get(f"{key}/mapped/{other}")

        memory = share(rank, sum(lengths), announce, all_mapped)
        self.counters = memory[: lines * 8].cast("q")
        everything = torch.frombuffer(memory, dtype=torch.uint8)
        _, slots, sums = everything.split(lengths)
        self.sums = sums.view(PIECES, PIECE)
        slots = slots.view(size, size, SLOTS, slot)
        self._outbox = [_Mailbox(self, slots, rank, to) for to in range(size)]
        self._inbox = [_Mailbox(self, slots, source, rank) for source in range(size)]

    def bucket(self, nbytes: int) -> Tensor:
        """Memory (uint8) that an all-reduce works in without copying, for gradients to live in.

        Every rank of the group calls it, with the same size. The memory is freed when the tensor
        and the link are; after `abandon` a straggling peer may still write into it.
        """

        def announce(address: bytes | None) -> bytes:
            text = torch.zeros(256, dtype=torch.uint8)
            if address is not None:
                text[: len(address)] = torch.frombuffer(bytearray(address), dtype=torch.uint8)
            tree.broadcast(self, text, 0)
            return bytes(text).rstrip(b"\0")

        length = (-(-nbytes // PAGE) + APART) * PAGE
        memory = share(self.rank, self.size * length, announce, lambda: tree.barrier(self))
        parts = torch.frombuffer(memory, dtype=torch.uint8).view(self.size, length)
        self.buckets.append(parts[:, :nbytes])
        return parts[self.rank, :nbytes]

    def flag(self, rank: int, counter: int) -> int:
        """A counter that `rank` raises and all others read."""
        return self.counters[rank * LINE + counter]

    def raise_flag(self, counter: int, value: int) -> None:
        """Tells all that what this rank wrote before is there to be read."""
        self.fence()
        self.counters[self.rank * LINE + counter] = value

    def await_flags(self, counter: int, value: int) -> None:
        """Returns when every rank has raised its counter to `value`."""
        everyone = self.counters[counter : self.size * LINE : LINE]
        self.until(lambda: min(everyone) >= value)

    def await_flag(self, rank: int, counter: int, value: int) -> None:
        self.until(lambda: self.flag(rank, counter) >= value)

    def until(self, done: Callable[[], bool]) -> None:
        poll(self, done, self.deadline)
        self.fence()

    def fence(self) -> None:
        """Keeps memory accesses before it from being seen after those that follow it.

        Intel's processors need none between stores, Arm's do: letting go of a lock and taking one
        is a release followed by an acquire, which neither can be moved across.
        """
        with self._fence:
            pass
        with self._fence:
            pass

    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> _Transfer:
        parts = [_Part(self._inbox[source], raw(tensor)) for tensor, source in receives]
        for part in parts:
            part.mailbox.incoming.append(part)
        outgoing = [_Part(self._outbox[to], raw(tensor)) for tensor, to in sends]
        for part in outgoing:
            part.mailbox.outgoing.append(part)
        self.progress()
        return _Transfer(self, [*parts, *outgoing])

    def progress(self) -> None:
        """Moves whatever can be moved at this moment, in both directions."""
        for box in self._outbox:
            while box.outgoing and box.put(box.outgoing[0]):
                pass
        for box in self._inbox:
            while box.incoming and box.take(box.incoming[0]):
                pass

    def close(self) -> None:
        """Lets go of the memory; a bucket's stays as long as its tensor."""
        self.abandon()  # from now on every call raises, and nothing below is looked for
        for held in (self.buckets, self._outbox, self._inbox):
            held.clear()
        del self.counters, self.sums


class _Part:
    """One message on its way: `moved` of its bytes are through."""

    def __init__(self, mailbox: _Mailbox, data: Tensor) -> None:
        self.mailbox, self.data, self.moved = mailbox, data, 0

    @property
    def done(self) -> bool:
        return self.moved == self.data.numel()


class _Mailbox:
    """From rank `a` to rank `b`; either end has an object of its own over the same memory."""

    def __init__(self, link: SharedMemoryLink, slots: Tensor, a: int, b: int) -> None:
        self.link, self.slots = link, slots[a, b]
        self.written = (link.size + 2 * (a * link.size + b)) * LINE  # a's line, then b's
        self.lengths = self.written + 1
        self.read = self.written + LINE
        self.outgoing: deque[_Part] = deque()
        self.incoming: deque[_Part] = deque()

    def put(self, part: _Part) -> bool:
        """Copies one piece into a free slot; False when there is none."""
        counters = self.link.counters
        written = counters[self.written]
        if written - counters[self.read] == SLOTS:
            return False
        slot = self.slots[written % SLOTS]
        piece = part.data[part.moved : part.moved + slot.numel()]
        self.link.fence()
        slot[: piece.numel()] = piece
        counters[self.lengths + written % SLOTS] = part.data.numel()
        self.link.fence()
        counters[self.written] = written + 1
        part.moved += piece.numel()
        if part.done:
            self.outgoing.popleft()
        return True

    def take(self, part: _Part) -> bool:
        """Copies one piece out of a full slot; False when there is none."""
        counters = self.link.counters
        read = counters[self.read]
        if counters[self.written] == read:
            return False
        self.link.fence()
        slot = self.slots[read % SLOTS]
        sent = counters[self.lengths + read % SLOTS]
        if sent != part.data.numel():
            raise ValueError(
                f"rank {self.link.rank} expects {part.data.numel()} bytes and was sent {sent}: "
                "all ranks must call the same collective with the same shape and type"
            )
        piece = part.data[part.moved : part.moved + slot.numel()]
        piece.copy_(slot[: piece.numel()])
        self.link.fence()
        counters[self.read] = read + 1
        part.moved += piece.numel()
        if part.done:
            self.incoming.popleft()
        return True


class _Transfer:
    def __init__(self, link: SharedMemoryLink, parts: list[_Part]) -> None:
        self.link, self.parts = link, parts

    def wait(self) -> None:
        def done() -> bool:
            self.link.progress()
            return all(part.done for part in self.parts)

        poll(self.link, done, self.link.deadline)
