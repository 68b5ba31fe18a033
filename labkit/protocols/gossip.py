"""Gossip: everyone talks to somebody now and then, nobody is in charge, and all come to know.

`Averaging` is push–pull averaging (M. Jelasity, A. Montresor and O. Babaoglu, TOCS 23(3), 2005):
after a few periods all members hold the mean of the values that they began with. `Rumours` are
spread as in A. Demers et al., "Epidemic algorithms for replicated database maintenance", PODC 1987.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from labkit.protocols.effects import Context, Effects, Message, Protocol, Record, Send, SetTimer

# -- averaging


class Push(Message, frozen=True):
    value: float


class Pull(Message, frozen=True):
    """What the sender of the push has to change its value by; the other has done the opposite."""

    change: float


class Averaging(Protocol):
    """Holds `value`; once in a period it and one peer, drawn at random, meet in the middle.

    In each period the variance over all members falls to 1/(2√e) = 0.30 of what it was.
    The answer is a difference and not a value, so that two exchanges that overlap neither make nor
    lose any of the sum. A lost answer does; the paper begins anew now and then, in epochs.
    """

    def __init__(
        self,
        me: int,
        members: tuple[int, ...],
        context: Context,
        stored: Mapping[str, Any],
        *,
        value: float | Mapping[int, float] = 0.0,
        period: float = 1.0,
    ) -> None:
        super().__init__(me, members, context, stored)
        self.value = float(value[me] if isinstance(value, Mapping) else value)
        self.period = period

    def on_start(self) -> Effects:
        if self.peers:
            yield SetTimer("period", self.context.random.uniform(0, self.period))

    def on_push(self, sender: int, m: Push) -> Effects:
        change = (self.value - m.value) / 2
        self.value -= change
        yield Send(sender, Pull(change))

    def on_pull(self, sender: int, m: Pull) -> None:
        self.value += m.change

    def on_period(self) -> Effects:
        yield SetTimer("period", self.period)
        yield Send(self.context.random.choice(self.peers), Push(self.value))


# -- rumours


class Tell(Message, frozen=True):
    rumours: tuple[str, ...]


class Heard(Message, frozen=True):
    """To who told: which of the rumours were known already."""

    known: tuple[str, ...]


class Ask(Message, frozen=True):
    pass


PUSH, PULL, PUSH_PULL = "push", "pull", "push-pull"


class Rumours(Protocol):
    """Knows some `rumours`, and tells those that are `hot`. A member that has told one `tired`
    times to somebody who knew it already loses interest (feedback and counter, §1.4).

    By pushing it tells a peer in each period in which it has something hot; by pulling it asks one
    in every period. What nobody is interested in any more some members never hear: the *residue*.
    """

    def __init__(
        self,
        me: int,
        members: tuple[int, ...],
        context: Context,
        stored: Mapping[str, Any],
        *,
        how: str = PUSH,
        tired: float = 2,
        period: float = 1.0,
        begins: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(me, members, context, stored)
        self.pushes, self.pulls = how in (PUSH, PUSH_PULL), how in (PULL, PUSH_PULL)
        self.tired, self.period = tired, period
        self.known: set[str] = set()
        self.hot: dict[str, int] = {}  # how often it was told in vain
        self.begins = begins or {}

    def on_start(self) -> Effects:
        if self.me in self.begins:
            yield from self.learn(self.begins[self.me])
        if self.peers:
            yield SetTimer("period", self.context.random.uniform(0, self.period))

    # -- messages

    def on_tell(self, sender: int, m: Tell) -> Effects:
        known = tuple(rumour for rumour in m.rumours if rumour in self.known)
        for rumour in m.rumours:
            yield from self.learn(rumour)
        if known and self.tired < math.inf:
            yield Send(sender, Heard(known))

    def on_heard(self, sender: int, m: Heard) -> None:
        for rumour in m.known:
            if rumour in self.hot:
                self.hot[rumour] += 1
                if self.hot[rumour] >= self.tired:
                    del self.hot[rumour]

    def on_ask(self, sender: int, m: Ask) -> Effects:
        if self.hot:
            yield Send(sender, Tell(tuple(self.hot)))

    # -- timers

    def on_period(self) -> Effects:
        yield SetTimer("period", self.period)
        peer = self.context.random.choice(self.peers)
        if self.pushes and self.hot:
            yield Send(peer, Tell(tuple(self.hot)))
        if self.pulls:
            yield Send(peer, Ask())

    # -- helpers

    def learn(self, rumour: str) -> Effects:
        if rumour not in self.known:
            self.known.add(rumour)
            self.hot[rumour] = 0
            yield Record("note", f"has heard {rumour}", rumour=rumour)
