"""What a check hands to an answer besides plain values, alike in a notebook and in a jail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from labkit.collectives.link import Link
from labkit.collectives.links.memory import memory_links
from labkit.grading.together import together


class Port:
    """An object of which an answer may call some methods. In a jail it is the grader's, and each
    call is a message: so the grader knows, by itself, what was done with it. What a method raises
    ends the answer's call, whatever the answer makes of it."""

    def __init__(self, target: Any, methods: str) -> None:
        self.methods = methods.split()
        for method in self.methods:
            setattr(self, method, getattr(target, method))


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
