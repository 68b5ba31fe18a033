"""What a check hands to an answer besides plain values, alike in a notebook and in a jail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from labkit.collectives.link import Link
from labkit.collectives.links.memory import memory_links
from labkit.collectives.trace import Board, Stuck, on_threads
from labkit.grading.together import together


class Port:
    """An object of which an answer may call some methods. In a jail it is the grader's, and each
    call is a message: so the grader knows, by itself, what was done with it. What a method raises
    ends the answer's call, whatever the answer makes of it. `values` are plain attributes; with a
    `rank` among them the call goes to that rank of the jail."""

    def __init__(self, target: Any, methods: str, **values: Any) -> None:
        self.methods, self.values = methods.split(), values
        for method in self.methods:
            setattr(self, method, getattr(target, method))
        for name, value in values.items():
            setattr(self, name, value)


class LinkPort:
    """A grader's link, as the messages of a jail use it: a transfer starts, and later its number is
    waited for."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.under_way: dict[int, Any] = {}

    def start(self, sends: list, receives: list) -> int:
        pending = self.link.transfer(sends=sends, receives=receives)
        number = len(self.under_way)
        self.under_way[number] = pending, [tensor for tensor, _ in receives]
        return number

    def wait(self, number: int) -> list:
        pending, tensors = self.under_way[number]
        pending.wait()
        return tensors


class Mailbox:
    """What `worker` is in a notebook, as far as an answer needs it to talk: one rank of a board
    that knows when all wait for each other. `sent` counts messages by rank, `heard` all."""

    def __init__(self, board: Board, rank: int) -> None:
        self.board, self.rank = board, rank
        self.heard = 0
        self.sent = [0] * board.size

    def send(self, to: int, value: Any) -> None:
        if to not in range(self.board.size) or to == self.rank:
            raise ValueError(f"rank {self.rank} has nobody at {to} to send to")
        self.sent[to] += 1
        self.board.put(self.rank, to, value)

    def receive(self, source: int) -> Any:
        if source not in range(self.board.size) or source == self.rank:
            raise ValueError(f"rank {self.rank} has nobody at {source} to hear from")
        value = self.board.take(source, self.rank)
        self.heard += 1
        return value


def on_workers(
    function: Callable[..., Any], ranks: int, *arguments: Any
) -> tuple[list[Any], list[Mailbox]]:
    """What `function(worker, *arguments)` returns on each of so many ranks at once, and their
    mailboxes; "waits for ever" for a rank for which nobody has a message any more."""
    board = Board(ranks)
    boxes = [Mailbox(board, rank) for rank in range(ranks)]

    def run(box: Mailbox) -> Any:
        worker = Port(box, "send receive", rank=box.rank, world_size=ranks)
        try:
            return function(worker, *arguments)
        except Stuck:
            return "waits for ever"

    return on_threads(board, [partial(run, box) for box in boxes]), boxes


def on_ranks(function: Callable[..., Any], arguments: Sequence[tuple]) -> list[Any]:
    """The values of `function(link, *arguments[rank])` on so many ranks at once, which the link
    connects: Gloo between the processes of a jail, memory between threads of this process."""
    inside = getattr(function, "on_ranks", None)
    if inside is not None:
        return list(inside(arguments))
    links = memory_links(len(arguments))

    def give_up() -> None:
        for link in links:
            link.abandon()

    pairs = zip(links, arguments, strict=True)
    return together([partial(function, link, *values) for link, values in pairs], give_up)
