"""Calls at once, each on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def together(calls: Sequence[Callable[[], T]], give_up: Callable[[], object]) -> list[T]:
    """What they return. Raises what the first to fail raises, or KeyboardInterrupt; `give_up()` is
    called before that, for those who would wait for ever, or go on with what is about to end."""
    values: dict[int, T] = {}
    failed: list[BaseException] = []

    def run(place: int) -> None:
        try:
            values[place] = calls[place]()
        except BaseException as error:
            failed.append(error)
            give_up()

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(calls))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        give_up()
        raise
    if failed:
        raise failed[0]
    return [values[place] for place in range(len(calls))]
