"""Who is gone, as the groups of this rank are told: a member that is dead, or whose function is
over. What tells it is the host's failure detector: a closed connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from labkit.collectives.group import Farewell, Tell
from labkit.view import Member, View


class _Subscriber(NamedTuple):
    run: int
    view: View
    tell: Tell


class Departures:
    """`lives` has the latest life of each rank that was met. Any thread may call."""

    def __init__(self, lives: dict[int, int]) -> None:
        self.lives = lives
        self.left: dict[int, dict[int, Farewell]] = {}  # by run and rank: its function is over
        self._gone: set[Member] = set()
        self._subscribers: list[_Subscriber] = []
        self._lock = threading.Lock()

    def died(self, member: Member) -> None:
        with self._lock:
            self._gone.add(member)
        self._tell(member.rank, None)

    def returned(self, member: Member) -> None:
        """It was taken for dead, and is not. The groups that were told so have been left."""
        with self._lock:
            self._gone.discard(member)

    def finished(self, run: int, rank: int, farewell: Farewell) -> None:
        """The function of this run is over there."""
        self.left.setdefault(run, {})[rank] = farewell
        self._tell(rank, farewell, run)

    def forget_before(self, run: int) -> None:
        self.left = {n: left for n, left in self.left.items() if n >= run}

    def subscribe(self, run: int, view: View, tell: Tell) -> Callable[[], None]:
        """The failure detector of a group of this run: `FailureDetector` with the run's number."""
        subscriber = _Subscriber(run, view, tell)
        with self._lock:
            self._subscribers.append(subscriber)
            present = {rank: self.lives.get(rank) for rank in view.members}
            gone = [m.rank for m in self._gone if present.get(m.rank) == m.life]
        for rank in gone:
            tell(rank, None)
        for rank, farewell in list(self.left.get(run, {}).items()):
            if rank in view.members:
                tell(rank, farewell)

        def unsubscribe() -> None:
            with self._lock:
                if subscriber in self._subscribers:
                    self._subscribers.remove(subscriber)

        return unsubscribe

    def _tell(self, rank: int, farewell: Farewell | None, run: int | None = None) -> None:
        """To the groups, of one run or of all, that have this rank."""
        with self._lock:
            told = [s for s in self._subscribers if rank in s.view.members]
        for subscriber in told:
            if run in (None, subscriber.run):
                subscriber.tell(rank, farewell)
