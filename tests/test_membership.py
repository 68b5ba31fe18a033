"""The agreement on views, under every order of messages, deaths and joins that a seed draws."""

from __future__ import annotations

import random
from collections import defaultdict, deque

import pytest

from labkit.runtime.membership import Membership
from labkit.runtime.messages import Echo, Gone, Member, PeerHello, Propose, Refuse
from labkit.view import View


class World:
    """Members joined by first-in-first-out channels, as TCP gives them; the seed picks who moves.

    A closed connection is the last message of its channel: nothing arrives after it.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.members: dict[Member, Membership] = {}
        self.channels: dict[tuple[Member, Member], deque] = defaultdict(deque)
        self.views: dict[Member, list[View]] = defaultdict(list)
        self.dropped: set[tuple[Member, Member]] = set()

    def add(self, member: Member, roster: set[Member]) -> None:
        def send(rank: int, message: object) -> None:
            for other in self.members:
                if other.rank == rank and (member, other) not in self.dropped:
                    self.channels[member, other].append(message)

        def drop(other: Member) -> None:
            self.close(member, other)

        node = Membership(member, send, self.views[member].append, drop)
        for other, peer in self.members.items():
            self.channels[member, other].append(PeerHello(member, node.highest))
            self.channels[other, member].append(PeerHello(other, peer.highest))
        self.members[member] = node
        for peer in self.members.values():
            peer.expect(roster)

    def close(self, one: Member, other: Member) -> None:
        for pair in ((one, other), (other, one)):
            if pair not in self.dropped:
                self.dropped.add(pair)
                self.channels[pair].append("closed")

    def kill(self, member: Member) -> None:
        del self.members[member]
        for other in self.members:
            kept = self.random.randrange(len(self.channels[member, other]) + 1)
            while len(self.channels[member, other]) > kept:
                self.channels[member, other].pop()  # unsent when it died
            self.dropped.discard((member, other))
            self.close(member, other)

    def step(self) -> bool:
        ready = [p for p, queue in self.channels.items() if queue and p[1] in self.members]
        if not ready:
            return False
        source, target = self.random.choice(ready)
        self.deliver(source, self.members[target], self.channels[source, target].popleft())
        return True

    def deliver(self, source: Member, node: Membership, message: object) -> None:
        match message:
            case "closed":
                node.lost(source)
            case PeerHello(member, highest):
                node.joined(member, highest)
            case Propose():
                node.on_propose(source.rank, message)
            case Echo():
                node.on_echo(source, message)
            case Gone():
                node.on_gone(message)
            case Refuse():
                node.on_refuse(message)


@pytest.mark.parametrize("block", range(10))
def test_survivors_install_the_same_views_in_any_order(block: int) -> None:
    for seed in range(block * 60, block * 60 + 60):
        world = World(seed)
        n = world.random.randint(1, 6)
        roster = {Member(r, 0) for r in range(n)}
        for member in sorted(roster):
            world.add(member, roster)
        lives: dict[int, int] = dict.fromkeys(range(n), 0)
        for _ in range(world.random.randint(0, 5)):
            for _ in range(world.random.randint(0, 60)):
                world.step()
            alive = sorted(world.members)
            dead = sorted(set(range(n)) - {m.rank for m in alive})
            if dead and world.random.random() < 0.5:
                rank = world.random.choice(dead)
                lives[rank] += 1
                member = Member(rank, lives[rank])
                world.add(member, set(world.members) | {member})
            elif victims := [m for m in alive if witnessed(world, set(alive) - {m})]:
                world.kill(world.random.choice(victims))
        steps = 0
        while world.step():
            steps += 1
            assert steps < 100_000, f"seed {seed}: the members never come to rest"
        check(world, seed)


def witnessed(world: World, survivors: set[Member]) -> bool:
    """One of them has installed the latest view: when none is left, no one knows its number."""
    latest = max((v.number for views in world.views.values() for v in views), default=0)
    return any(world.members[m].number == latest for m in survivors)


def check(world: World, seed: int) -> None:
    by_number: dict[int, set[tuple[int, ...]]] = defaultdict(set)
    for member, views in world.views.items():
        numbers = [v.number for v in views]
        assert numbers == sorted(set(numbers)), f"seed {seed}: {member} went back: {numbers}"
        for view in views:
            by_number[view.number].add(view.members)
            assert member.rank in view.members, f"seed {seed}: {member} installed {view}"
    two = {n: m for n, m in by_number.items() if len(m) > 1}
    assert not two, f"seed {seed}: two views of one number: {two}"
    last = {world.views[m][-1] if world.views[m] else None for m in world.members}
    ranks = tuple(sorted(m.rank for m in world.members))
    assert len(last) == 1, f"seed {seed}: {last}"
    (view,) = last
    assert view is not None
    assert view.members == ranks, f"seed {seed}: {view} but alive are {ranks}"
