"""What an algorithm really does to every chunk: it runs on threads, and every chunk is dyed.

Each element of a dyed tensor is a table of n x n counters: how often rank r's part of chunk c is in
it. Adding tensors adds the counters, so a chunk tells at any moment whose parts it holds, also when
they are parts of another chunk, or in it twice. Rounds are counted by messages and not by clocks: a
message that was sent in round k arrives in it, and its receiver goes on in round k+1.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labkit.collectives.link import Link, Message

Content = dict[tuple[int, int], int]
"""What is in a chunk: (rank, chunk) -> how often."""
State = list[list[Content | None]]
"""By rank and slot; None is memory that nobody filled."""
Algorithm = Callable[[Link, list[Tensor]], object]

MOST = 8
"""Ranks of a trace: a dyed element has 64 counters then."""
TRANSFERS = 64
"""More than any all-reduce of that many ranks needs: who goes on is in an endless loop."""


class Stuck(RuntimeError):
    """Every rank has ended or waits for a message that nobody is going to send."""


@dataclass(frozen=True)
class Sent:
    """A message. `slot` says which of the sender's chunks it was; None for something else."""

    round: int
    source: int
    target: int
    slot: int | None
    elements: int


@dataclass(frozen=True)
class Trace:
    """`states[k]` is before round k, the last one at the end; `messages` are in order of rounds.

    `lengths` are the elements of the chunks.
    """

    lengths: list[int]
    states: list[State]
    messages: list[Sent]

    @property
    def rounds(self) -> int:
        return len(self.states) - 1


def dyed(rank: int, size: int, lengths: Sequence[int]) -> list[Tensor]:
    """The chunks of `rank`, of so many elements each, with nobody else's parts in them yet."""
    chunks = [torch.zeros(length, size, size) for length in lengths]
    for index, chunk in enumerate(chunks):
        chunk[:, rank, index] = 1
    return [chunk.view(-1) for chunk in chunks]


def content(chunk: Tensor, size: int) -> Content | None:
    """What is in a dyed chunk; None for memory that was never filled, or filled in part only."""
    tables = chunk.view(-1, size, size)
    if not len(tables):
        return {}
    table = tables[0]
    whole = bool(((table == table.round()) & (table >= 0) & (table < 1000)).all())
    if not whole or not bool((tables == table).all()):
        return None
    return {(r, c): int(table[r, c]) for r, c in table.nonzero().tolist()}


def written(held: Content | None) -> str:
    """`chunk 1 of ranks 0, 2`: what is in a slot. A rank that is in it twice is named twice."""
    if held is None:
        return "memory that nobody filled"
    chunks = sorted({chunk for _, chunk in held})
    words = []
    for chunk in chunks:
        ranks = [r for (r, c), times in sorted(held.items()) if c == chunk for _ in range(times)]
        words.append(f"chunk {chunk} of rank{'s'[: len(ranks) - 1]} {', '.join(map(str, ranks))}")
    return " + ".join(words) or "nothing"


def lengths(elements: int, size: int) -> list[int]:
    """The lengths of `size` chunks of a tensor, as torch.tensor_split cuts it."""
    return [len(part) for part in torch.arange(elements).tensor_split(size)]


def trace(algorithm: Algorithm, size: int, elements: int | None = None) -> Trace:
    """Runs `algorithm(link, chunks)` on `size` ranks (at most 8), each with its own dyed chunks.

    The chunks together have `elements` elements, one each unless told. Raises what the algorithm
    raises at the lowest rank, and Stuck when the ranks wait for each other.
    """
    if not 1 <= size <= MOST:
        raise ValueError(f"a trace has 1 to {MOST} ranks, not {size}")
    board = Board(size)
    cut = lengths(size if elements is None else elements, size)
    links = [_TracedLink(rank, board, dyed(rank, size, cut)) for rank in range(size)]
    on_threads(board, [lambda link=link: algorithm(link, link.chunks) for link in links])  # type: ignore[misc]
    for link in links:
        link.round += link.round in link.seen  # its last transfer was never waited for
        link.snapshot()
    return _trace_of(cut, links, board)


def on_threads(board: Board, tasks: Sequence[Callable[[], object]]) -> list[object]:
    """The values of the tasks, each in a thread of its own."""
    values: list[object] = [None] * len(tasks)
    errors: list[BaseException | None] = [None] * len(tasks)

    def run(rank: int) -> None:
        try:
            values[rank] = tasks[rank]()
        except BaseException as error:  # handed to the caller's thread
            errors[rank] = error
        with board.changed:
            board.done.add(rank)
            board.changed.notify_all()

    threads = [threading.Thread(target=run, args=(r,), daemon=True) for r in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A rank that fails leaves others stuck: its own error is the one to tell.
    found = sorted((e for e in errors if e is not None), key=lambda e: isinstance(e, Stuck))
    if found:
        raise found[0]
    return values


class Board:
    """What ranks on threads share: their mail, and whether anybody can still go on."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed = threading.Condition()
        self.mail: dict[tuple[int, int], deque[Any]] = {
            (a, b): deque() for a in range(size) for b in range(size)
        }
        self.messages: list[Sent] = []
        self.waiting: dict[int, int] = {}  # who waits for whom
        self.done: set[int] = set()
        self.story = ""

    def stuck(self) -> bool:
        def idle(rank: int) -> bool:
            return rank in self.waiting and not self.mail[self.waiting[rank], rank]

        if not self.story and all(r in self.done or idle(r) for r in range(self.size)):
            waits = ", ".join(f"{a} for {b}" for a, b in sorted(self.waiting.items()))
            self.story = f"nobody sends, and rank waits for rank: {waits}"
        return bool(self.story)

    def put(self, rank: int, to: int, message: Any) -> None:
        with self.changed:
            self.mail[rank, to].append(message)
            self.changed.notify_all()

    def take(self, source: int, rank: int) -> Any:
        """The next message from `source` to `rank`. Raises Stuck when none can come."""
        box = self.mail[source, rank]
        with self.changed:
            self.waiting[rank] = source
            while not box:
                if self.stuck():
                    self.changed.notify_all()
                    raise Stuck(self.story)
                self.changed.wait()
            del self.waiting[rank]
            return box.popleft()


class _TracedLink(Link):
    def __init__(self, rank: int, board: Board, chunks: list[Tensor]) -> None:
        super().__init__(rank, board.size)
        self.board, self.chunks = board, chunks
        self.round = self.transfers = 0
        self.seen: dict[int, list[Content | None]] = {}

    def snapshot(self) -> None:
        self.seen.setdefault(self.round, [content(c, self.size) for c in self.chunks])

    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> _Arrivals:
        self.snapshot()
        self.transfers += 1
        if self.transfers > TRANSFERS:
            raise RuntimeError(f"rank {self.rank} has made {TRANSFERS} transfers and goes on")
        board = self.board
        with board.changed:
            for tensor, to in sends:
                count = tensor.numel() // self.size**2
                board.messages.append(Sent(self.round, self.rank, to, self.slot(tensor), count))
                board.mail[self.rank, to].append((tensor.clone(), self.round))
            board.changed.notify_all()
        return _Arrivals(self, list(receives))

    def slot(self, tensor: Tensor) -> int | None:
        """Which of this rank's chunks it is, or is a copy of."""
        same = [i for i, c in enumerate(self.chunks) if c.data_ptr() == tensor.data_ptr()]
        return next(
            (i for i in [*same, *range(self.size)] if torch.equal(self.chunks[i], tensor)), None
        )


class _Arrivals:
    def __init__(self, link: _TracedLink, receives: list[Message]) -> None:
        self.link, self.receives = link, receives
        self.waited = False

    def wait(self) -> None:
        if self.waited:
            return
        self.waited = True
        rounds = [self.link.round]
        for tensor, source in self.receives:
            message, round = self.link.board.take(source, self.link.rank)
            if message.shape != tensor.view(-1).shape or message.dtype != tensor.dtype:
                n = self.link.size**2
                raise ValueError(
                    f"rank {self.link.rank} makes room for {tensor.numel() // n} elements from "
                    f"rank {source}, which sends {message.numel() // n}"
                )
            tensor.view(-1).copy_(message)
            rounds.append(round)
        self.link.round = max(rounds) + 1


def _trace_of(cut: list[int], links: list[_TracedLink], board: Board) -> Trace:
    last = max(link.round for link in links)
    states: list[State] = []
    for k in range(last + 1):
        states.append([link.seen[max(j for j in link.seen if j <= k)] for link in links])
    return Trace(cut, states, sorted(board.messages, key=lambda m: (m.round, m.source, m.target)))
