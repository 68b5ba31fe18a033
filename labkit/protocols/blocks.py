"""Blocks of data with n copies each, and a manager that makes new copies when a store is lost
(S. Ghemawat, H. Gobioff and S.-T. Leung, "The Google File System", SOSP 2003, §4.3; HDFS has the
same parts: K. Shvachko et al., MSST 2010).

The manager keeps no list of who has what: each store says with every heartbeat which blocks it has
(§2.6.2), so what the manager believes is never older than the last heartbeat. Data never passes
through it. A block with fewer than n copies is copied from a store that has it to one that has not,
the block with the fewest copies first: it is the one that the next loss would take away for good.

Blocks are written once. A store that comes back may make a copy too many, and it is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from labkit.protocols.effects import (
    CancelTimer,
    Effects,
    Message,
    Persist,
    Protocol,
    Record,
    Send,
    SetTimer,
)

STREAMS = 2
"""As many copies a store sends and receives at a time: reads have to go on (GFS §4.3)."""


class Heartbeat(Message, frozen=True):
    """I am here, and have these blocks."""

    blocks: tuple[int, ...]


class Copy(Message, frozen=True):
    """Get yourself a copy of the block from there."""

    block: int
    source: int


class Fetch(Message, frozen=True):
    block: int


class Data(Message, frozen=True):
    """A block, to be kept by a store, or for a reader that asked."""

    block: int
    content: str


class Kept(Message, frozen=True):
    """The block is on my disk."""

    block: int


class Locate(Message, frozen=True):
    block: int


class Located(Message, frozen=True):
    block: int
    stores: tuple[int, ...]


class Blocks(Protocol):
    """The first member is the manager, the others are stores. `copies` is n; a store is given up
    after `patience` seconds of silence; a block is on the wire for `transfer` seconds."""

    stored_types: ClassVar[Mapping[str, Any]] = {"blocks": dict[int, str], "names": tuple[int, ...]}

    def __new__(cls, me: int, members: tuple[int, ...], *rest: Any, **settings: Any) -> Any:
        return super().__new__(Manager if me == members[0] else Store)

    def __init__(
        self,
        *arguments: Any,
        copies: int = 3,
        patience: float = 0.5,
        transfer: float = 0.01,
    ) -> None:
        super().__init__(*arguments)
        self.copies, self.patience, self.transfer = copies, patience, transfer
        self.manager, *stores = self.members
        self.stores = tuple(stores)


class Manager(Blocks):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        _, _, _, stored = arguments
        # Persistent state: which blocks there ever were
        self.names: set[int] = set(stored.get("names", ()))
        # Volatile state, from heartbeats
        self.holders: dict[int, set[int]] = {block: set() for block in self.names}
        self.alive: set[int] = set()
        # Volatile state: by block and target, the source of a copy that is under way
        self.under_way: dict[tuple[int, int], int] = {}

    @property
    def leads(self) -> bool:
        return True

    # -- messages

    def on_heartbeat(self, store: int, m: Heartbeat) -> Effects:
        yield SetTimer("silence", self.patience, key=store)
        self.alive.add(store)
        yield from self.learn(m.blocks)
        reported = set(m.blocks)
        for block, holders in self.holders.items():
            if block in reported:
                holders.add(store)
                if self.under_way.pop((block, store), None) is not None:
                    yield CancelTimer("overdue", (block, store))
            else:
                holders.discard(store)
        yield from self.replicate()

    def on_locate(self, reader: int, m: Locate) -> Effects:
        yield Send(reader, Located(m.block, tuple(sorted(self.holders.get(m.block, ())))))

    # -- timers

    def on_silence(self, store: int) -> Effects:
        """Its copies do not count any more. If it lives, its next heartbeat brings them back."""
        self.alive.discard(store)
        for holders in self.holders.values():
            holders.discard(store)
        for block, target in [c for c, source in self.under_way.items() if store in (source, c[1])]:
            del self.under_way[block, target]
            yield CancelTimer("overdue", (block, target))
        yield Record("store", "gives up", store=store)
        yield from self.replicate()

    def on_overdue(self, copy: tuple[int, int]) -> Effects:
        """A message was lost, or a store is busy: begin again, perhaps elsewhere."""
        del self.under_way[copy]
        yield from self.replicate()

    # -- helpers

    def learn(self, blocks: tuple[int, ...]) -> Effects:
        new = set(blocks) - self.names
        if new:
            self.names |= new
            self.holders |= {block: set() for block in sorted(new)}
            yield Persist(names=tuple(sorted(self.names)))

    def replicate(self) -> Effects:
        """Begins as many copies as the stores may have under way."""
        sending = Counter(self.under_way.values())
        receiving = Counter(target for _, target in self.under_way)
        count = Counter(block for block, _ in self.under_way)
        missing = [b for b, held in self.holders.items() if 0 < len(held) + count[b] < self.copies]
        load = Counter(store for held in self.holders.values() for store in held) + receiving
        # §4.3: the farther from its goal a block is, the sooner it is copied.
        for block in sorted(missing, key=lambda b: (len(self.holders[b]) + count[b], b)):
            held = self.holders[block]
            takers = self.alive - held - {t for b, t in self.under_way if b == block}
            sources = [s for s in sorted(held) if sending[s] < STREAMS]
            targets = [t for t in sorted(takers) if receiving[t] < STREAMS]
            if not sources or not targets:
                continue
            source = min(sources, key=lambda s: sending[s])
            target = min(targets, key=lambda t: load[t])
            self.under_way[block, target] = source
            sending[source] += 1
            receiving[target] += 1
            load[target] += 1
            yield Send(target, Copy(block, source))
            yield SetTimer("overdue", 2 * self.patience, key=(block, target))


class Store(Blocks):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        _, _, _, stored = arguments
        # Persistent state
        self.blocks: dict[int, str] = dict(stored.get("blocks", {}))
        # Volatile state: who waits for which block
        self.reads: list[tuple[int, int]] = []
        self.copying: list[tuple[int, int]] = []
        self.sending: tuple[int, int] | None = None

    def on_start(self) -> Effects:
        yield from self.on_beat()

    # -- messages

    def on_copy(self, manager: int, m: Copy) -> Effects:
        if m.block not in self.blocks:
            yield Send(m.source, Fetch(m.block))

    def on_fetch(self, asker: int, m: Fetch) -> Effects:
        """One block is sent at a time, to readers before stores."""
        if m.block in self.blocks:
            waiting = self.copying if asker in self.stores else self.reads
            waiting.append((asker, m.block))
            yield from self.send_next()

    def on_data(self, sender: int, m: Data) -> Effects:
        """The copy counts when it is on the disk, and the manager has heard of it."""
        if m.block not in self.blocks:
            self.blocks[m.block] = m.content
            yield Persist(blocks=dict(self.blocks))
            yield Send(self.manager, Heartbeat(tuple(sorted(self.blocks))))
        if sender not in self.stores:
            yield Send(sender, Kept(m.block))

    # -- timers

    def on_beat(self) -> Effects:
        yield Send(self.manager, Heartbeat(tuple(sorted(self.blocks))))
        yield SetTimer("beat", self.patience / 4)

    def on_sent(self) -> Effects:
        """A block has been on the wire for as long as it takes."""
        assert self.sending is not None
        (asker, block), self.sending = self.sending, None
        yield Send(asker, Data(block, self.blocks[block]))
        yield from self.send_next()

    # -- helpers

    def send_next(self) -> Effects:
        waiting = self.reads or self.copying
        if self.sending is None and waiting:
            self.sending = waiting.pop(0)
            yield SetTimer("sent", self.transfer)


class Reader(Protocol):
    """A training job: it writes its blocks, one copy of each, and then reads them one after the
    other, again and again, `pause` seconds apart. `reads` says of each read which block it was,
    when it was asked for, and when it was there."""

    def __init__(
        self, *arguments: Any, blocks: int, pause: float = 0.02, patience: float = 0.2
    ) -> None:
        super().__init__(*arguments)
        self.blocks, self.pause, self.patience = blocks, pause, patience
        self.unwritten = set(range(blocks))
        self.block, self.asked = -1, 0.0
        self.silent: set[int] = set()  # who did not answer, for this block
        self.reads: list[tuple[int, float, float]] = []
        self.contents: dict[int, str] = {}

    def on_start(self) -> Effects:
        yield from self.on_write()

    def on_kept(self, store: int, m: Kept) -> Effects:
        self.unwritten.discard(m.block)
        if not self.unwritten and self.block < 0 and not self.reads:
            yield CancelTimer("write")
            yield from self.on_next()

    def on_located(self, manager: int, m: Located) -> Effects:
        stores = [s for s in m.stores if s not in self.silent] or list(m.stores)
        if m.block == self.block and stores:
            store = self.context.random.choice(stores)
            self.silent.add(store)  # until it answers
            yield Send(store, Fetch(m.block))

    def on_data(self, store: int, m: Data) -> Effects:
        if m.block == self.block:
            self.reads.append((m.block, self.asked, self.context.now))
            self.contents[m.block] = m.content
            self.block = -1
            yield CancelTimer("again")
            yield SetTimer("next", self.pause)

    def on_write(self) -> Effects:
        """One copy each; the manager sees to the others."""
        stores = self.members[1:]
        for block in sorted(self.unwritten):
            yield Send(stores[block % len(stores)], Data(block, f"samples of block {block}"))
        yield SetTimer("write", self.patience)

    def on_next(self) -> Effects:
        self.block, self.asked = len(self.reads) % self.blocks, self.context.now
        self.silent = set()
        yield from self.on_again()

    def on_again(self) -> Effects:
        """From the beginning: another store may have it by now."""
        yield Send(self.members[0], Locate(self.block))
        yield SetTimer("again", self.patience)
