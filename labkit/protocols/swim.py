"""SWIM: who is a member, found out with two messages per member and period, however many there are
(A. Das, I. Gupta and A. Motivala, DSN 2002).

In every protocol period a member pings one other, in a random order in which each has its turn
(§4.3). Without an ack it asks some helpers to ping for it, so that one bad link convicts nobody
(§3.1); without an ack through them either, it *suspects* that member (§4.2), who has some time to
refute. News travel on the pings and acks (§4.1), each a number of times that grows with log n.

What is believed of a member only grows, in the order of (incarnation, status): a suspicion is
beaten only by a higher incarnation, which nobody but the member itself can give. From Lifeguard
(A. Dadgar, J. Phillips and J. Currey, DSN 2018) come: the suspicion that several members share ends
sooner; who is suspected hears of it with the next message; a member that misses acks takes more
time, since it may be slow itself. Otherwise than in the paper, a faulty member may come back (with
a higher incarnation), and is pinged on, so that the halves of a parted network find each other.
"""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct

from labkit.protocols.effects import (
    Effects,
    Message,
    Persist,
    Protocol,
    Record,
    Send,
    SetTimer,
)

ALIVE, SUSPECT, FAULTY = range(3)
BURST = 8
"""Facts in one message, at most."""
CONFIRMATIONS = 3
"""Of a suspicion, by others than the first who told it: with so many it is as short as it gets."""
WIDEST = 6
"""How many times as long a suspicion lasts that nobody confirms."""
UNHEALTHY = 8
"""Missed acks that a member counts against itself, at most."""


class Fact(Struct, frozen=True):
    """`accuser` is one of those who found out by themselves that the member does not answer."""

    member: int
    incarnation: int
    status: int
    accuser: int = -1


Facts = tuple[Fact, ...]


# -- messages: `origin` is who wants to know, `serial` the number of its probe


class Ping(Message, frozen=True):
    serial: int
    origin: int
    facts: Facts = ()


class Ack(Message, frozen=True):
    serial: int
    origin: int
    facts: Facts = ()


class PingReq(Message, frozen=True):
    target: int
    serial: int
    facts: Facts = ()


class Suspicion(Struct):
    """When it began, when it ends unless it is refuted, and who bears it out."""

    since: float
    due: float
    accusers: list[int]


class Swim(Protocol):
    """`period` and `timeout` are seconds; a message there and back should take less than `timeout`.
    A suspicion lasts `suspicion` · log10 n periods or longer. News are told `spread` · ln n times.
    """

    def __init__(
        self,
        *arguments: Any,
        period: float = 1.0,
        timeout: float = 0.3,
        helpers: int = 3,
        suspicion: float = 4.0,
        spread: float = 3.0,
    ) -> None:
        # Not the base's: 10 000 tuples of 9 999 peers do not fit into memory.
        self.me, self.members, self.context, stored = arguments
        self.period, self.timeout, self.helpers = period, timeout, helpers
        n = len(self.members)
        self.shortest = suspicion * max(1.0, math.log10(n)) * period
        self.tellings = math.ceil(spread * math.log(n + 1))
        # Of itself
        self.incarnation: int = stored.get("incarnation", -1) + 1
        self.health = 0  # missed acks, less those that came
        # Of the others: only who is not alive in incarnation 0
        self.beliefs: dict[int, tuple[int, int]] = {}
        self.suspicions: dict[int, Suspicion] = {}
        self.generation = 0  # how often a member was declared faulty, or came back
        self.news: dict[int, int] = {}  # of whom it tells, and how often it has
        # The probe under way, and the order of the next ones
        self.charge: Fact | None = None  # what it will say, unless an ack comes
        self.serial = 0
        self.period_due = self.context.now
        self.first = self.stride = 0
        self.turn = n

    def on_start(self) -> Effects:
        yield Persist(incarnation=self.incarnation)  # so that another life has another one
        if self.incarnation:
            self.news[self.me] = 0
        if len(self.members) > 1:
            yield from self.wait(self.context.random.uniform(0, self.period))

    # -- messages

    def on_ping(self, sender: int, m: Ping) -> Effects:
        yield from self.learn(m.facts)
        yield Send(sender, Ack(m.serial, m.origin, self.tell(sender)))

    def on_ping_req(self, sender: int, m: PingReq) -> Effects:
        yield from self.learn(m.facts)
        yield Send(m.target, Ping(m.serial, sender, self.tell(m.target)))

    def on_ack(self, sender: int, m: Ack) -> Effects:
        yield from self.learn(m.facts)
        if m.origin != self.me:
            yield Send(m.origin, Ack(m.serial, m.origin, self.tell(m.origin)))
        elif m.serial == self.serial and self.charge is not None:
            self.charge = None
            self.health = max(self.health - 1, 0)

    # -- timers

    def on_period(self) -> Effects:
        late = self.context.now - self.period_due > self.timeout
        if self.charge is not None and not late:  # late: it stood still, and acks lie unread
            if self.belief(self.charge.member)[1] != FAULTY:
                self.health = min(self.health + 1, UNHEALTHY)
            yield from self.merge(self.charge)
        self.serial += 1
        target = self.next_target()
        self.charge = Fact(target, self.belief(target)[0], SUSPECT, self.me)
        yield Send(target, Ping(self.serial, self.me, self.tell(target)))
        yield SetTimer("timeout", self.timeout * (1 + self.health))
        yield from self.wait(self.period * (1 + self.health))

    def on_timeout(self) -> Effects:
        """No ack yet: perhaps it is only the way from here to there (§3.1)."""
        if self.charge is not None:
            target = self.charge.member
            for helper in self.draw_helpers(target):
                yield Send(helper, PingReq(target, self.serial, self.tell(helper)))

    def on_suspicion(self, member: int) -> Effects:
        suspicion = self.suspicions.get(member)
        if suspicion is None:
            return  # refuted
        if self.context.now - suspicion.due > self.timeout:  # it stood still: hear them out first
            yield from self.give(member, self.shortest)
        else:
            yield from self.merge(Fact(member, self.belief(member)[0], FAULTY))

    # -- what it believes

    def belief(self, member: int) -> tuple[int, int]:
        return self.beliefs.get(member, (0, ALIVE))

    def alive(self) -> list[int]:
        """The members that are not declared faulty: its membership list."""
        return [m for m in self.members if self.belief(m)[1] != FAULTY]

    def learn(self, facts: Facts) -> Effects:
        for fact in facts:
            if fact.member == self.me:
                yield from self.refute(fact)
            else:
                yield from self.merge(fact)

    def refute(self, fact: Fact) -> Effects:
        """Only a higher incarnation beats a suspicion, and only its owner may raise it (§4.2). A
        member that was cut off may have missed the refutation: it is told again."""
        if fact.status == ALIVE:
            return
        self.news[self.me] = 0
        if fact.incarnation >= self.incarnation:
            self.incarnation = fact.incarnation + 1
            self.health = min(self.health + 1, UNHEALTHY)
            yield Persist(incarnation=self.incarnation)

    def merge(self, fact: Fact) -> Effects:
        member, status = fact.member, fact.status
        before, after = self.belief(member), (fact.incarnation, status)
        if after < before:
            return
        if after == before:
            if status == SUSPECT:
                yield from self.confirm(member, fact.accuser)
            return
        self.beliefs[member], self.news[member] = after, 0
        self.suspicions.pop(member, None)
        if status == SUSPECT:
            yield Record("suspect", f"suspects rank {member}", peer=member)
            now = self.context.now
            self.suspicions[member] = Suspicion(now, now, [fact.accuser])
            yield from self.give(member, self.patience(1))
        elif status == FAULTY:
            yield Record("lost", f"declares rank {member} faulty", peer=member)
        elif before[1] != ALIVE:
            yield Record("trust", f"trusts rank {member}", peer=member)
        self.generation += (before[1] == FAULTY) != (status == FAULTY)

    def confirm(self, member: int, accuser: int) -> Effects:
        suspicion = self.suspicions[member]
        known = suspicion.accusers
        if accuser in known or len(known) > CONFIRMATIONS:
            return
        known.append(accuser)
        self.news[member] = 0  # told on: others wait for it too
        spent = self.context.now - suspicion.since
        yield from self.give(member, max(0.0, self.patience(len(known)) - spent))

    def patience(self, accusers: int) -> float:
        """Seconds that a suspicion lasts which so many have found out by themselves."""
        enough = 1 + min(CONFIRMATIONS, len(self.members) - 2)  # all but the suspect itself
        share = math.log(accusers) / math.log(enough) if enough > 1 else 1.0
        return self.shortest * (WIDEST - (WIDEST - 1) * min(share, 1.0))

    def give(self, member: int, seconds: float) -> Effects:
        self.suspicions[member].due = self.context.now + seconds
        yield SetTimer("suspicion", seconds, member)

    # -- helpers

    def tell(self, to: int) -> Facts:
        """What the next message to `to` carries: what was told least, and what is held against it.

        Everyone stops after O(log n) tellings; by then everyone knows (§4.1).
        """
        accused = self.belief(to)[1] != ALIVE
        if not self.news and not accused:
            return ()
        chosen = sorted(self.news, key=self.news.__getitem__)[:BURST]
        for member in chosen:
            self.news[member] += 1
            if self.news[member] >= self.tellings:
                del self.news[member]
        if accused and to not in chosen:
            chosen.append(to)
        return tuple(map(self.fact, chosen))

    def fact(self, member: int) -> Fact:
        if member == self.me:
            return Fact(member, self.incarnation, ALIVE)
        suspicion = self.suspicions.get(member)
        return Fact(member, *self.belief(member), suspicion.accusers[-1] if suspicion else -1)

    def wait(self, seconds: float) -> Effects:
        self.period_due = self.context.now + seconds
        yield SetTimer("period", seconds)

    def next_target(self) -> int:
        """Each has its turn, in an order that is drawn anew for each round (§4.3): then at most
        2n - 1 periods pass between two turns. The order first, first + stride, first + 2·stride, …
        modulo n takes no memory; with no common divisor of stride and n nobody is left out."""
        n, draw = len(self.members), self.context.random
        while True:
            if self.turn == n:
                self.turn, self.first, self.stride = 0, draw.randrange(n), draw.randrange(1, n)
                while math.gcd(self.stride, n) > 1:
                    self.stride = draw.randrange(1, n)
            member = self.members[(self.first + self.turn * self.stride) % n]
            self.turn += 1
            if member != self.me:
                return member

    def draw_helpers(self, target: int) -> list[int]:
        """Some that are not known to be faulty, if the draw finds them."""
        size = min(len(self.members), self.helpers + 2)
        drawn = self.context.random.sample(self.members, size)
        able = [m for m in drawn if m not in (self.me, target) and self.belief(m)[1] != FAULTY]
        return able[: self.helpers]
