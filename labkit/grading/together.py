"""Calls at once, each on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def together(calls: Sequence[Callable[[], T]], give_up: Callable[[], object]) -> list[T]:
    """What they return. Raises what the first to fail raises; `give_up()` is called then, for those
    who would wait for that one for ever."""
    values: dict[int, T] = {}
    failed: list[BaseException] = []

    def run(place: int) -> None:
        try:
            values[place] = calls[place]()
        except BaseException as error:
            failed.append(error)
            give_up()

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [values[place] for place in range(len(calls))]
