"""Who is gone, as the groups of this rank are told: a member that is dead, whose function is over,
or that has left the group for one of a newer view. What tells it is the host's failure detector: a
closed connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from labkit.collectives.detection import Farewell, Listener
from labkit.view import Member, View


class _Subscriber(NamedTuple):
    run: int
    view: View
    listener: Listener


class Departures:
    """`lives` has the latest life of each rank that was met. Any thread may call."""

    def __init__(self, lives: dict[int, int]) -> None:
        self.lives = lives
        self.left: dict[int, dict[int, Farewell]] = {}  # by run and rank: its function is over
        self._newest = 0  # view
        self._gone: set[Member] = set()
        self._subscribers: list[_Subscriber] = []
        self._lock = threading.Lock()

    def died(self, member: Member) -> None:
        with self._lock:
            self._gone.add(member)
        for subscriber in self._that_have(member.rank):
            subscriber.listener.on_death(member.rank)

    def returned(self, member: Member) -> None:
        """It was taken for dead, and is not. The groups that were told so have been left. That its
        function is over it says again, unless it is in another life."""
        with self._lock:
            self._gone.discard(member)
        for left in self.left.values():
            left.pop(member.rank, None)

    def finished(self, run: int, rank: int, farewell: Farewell) -> None:
        """The function of this run is over there."""
        self.left.setdefault(run, {})[rank] = farewell
        for subscriber in self._that_have(rank):
            if subscriber.run == run:
                _bid(subscriber, rank, farewell)

    def regroups(self, run: int, rank: int, farewell: Farewell) -> None:
        """It has left the group of that view, because it has lost another rank or for a newer
        view."""
        for subscriber in self._that_have(rank):
            if subscriber.run == run and subscriber.view == farewell.view:
                _bid(subscriber, rank, farewell)

    def installed(self, view: View) -> None:
        with self._lock:
            self._newest = view.number
            older = [s for s in self._subscribers if s.view.number < view.number]
        for subscriber in older:
            subscriber.listener.on_next_view()

    def forget_before(self, run: int) -> None:
        self.left = {n: left for n, left in self.left.items() if n >= run}

    def subscribe(self, run: int, view: View, listener: Listener) -> Callable[[], None]:
        """The failure detector of a group of this run: `FailureDetector` with the run's number."""
        subscriber = _Subscriber(run, view, listener)
        with self._lock:
            self._subscribers.append(subscriber)
            present = {rank: self.lives.get(rank) for rank in view.members}
            gone = [m.rank for m in self._gone if present.get(m.rank) == m.life]
            newer = self._newest > view.number
        for rank in gone:
            listener.on_death(rank)
        for rank, farewell in list(self.left.get(run, {}).items()):
            if rank in view.members:
                _bid(subscriber, rank, farewell)
        if newer:
            listener.on_next_view()

        def unsubscribe() -> None:
            with self._lock:
                if subscriber in self._subscribers:
                    self._subscribers.remove(subscriber)

        return unsubscribe

    def _that_have(self, rank: int) -> Iterator[_Subscriber]:
        """The groups of this rank."""
        with self._lock:
            told = [s for s in self._subscribers if rank in s.view.members]
        yield from told


def _bid(subscriber: _Subscriber, rank: int, farewell: Farewell) -> None:
    """What a member has lost is lost to all of its group: nobody may wait where others have left,
    and whose fault it was is the same for all."""
    if farewell.lost is not None and farewell.view == subscriber.view:
        subscriber.listener.on_death(farewell.lost)
    else:
        subscriber.listener.on_farewell(rank, farewell)
