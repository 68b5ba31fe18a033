"""When an invariant is asked: what it does not look at costs nothing, and nothing is missed."""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Broadcast, Effects, Message, Persist, Protocol, Send, SetTimer
from labkit.simulator.invariants import Invariant
from labkit.simulator.simulation import Simulation


class Word(Message, frozen=True):
    number: int


class Teller(Protocol):
    """Rank 0 counts to itself, writes at 3, and tells two others of each number from 4 on."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.count = self.tens = 0

    def on_start(self) -> Effects:
        if self.me == 0:
            yield SetTimer("tick", 1.0)

    def on_tick(self) -> Effects:
        self.count += 1
        self.tens = self.count // 10
        if self.count == 3:
            yield Persist(count=3)
        if self.count > 3:
            yield Broadcast((1, 2), Word(self.count))
        yield SetTimer("tick", 1.0)

    def on_word(self, teller: int, m: Word) -> Effects:
        yield Send(self.me, Word(m.number)) if teller != self.me else Persist()


def asked(**attributes: Any) -> tuple[type[Invariant], list[Any]]:
    """An invariant with these methods and attributes, and what it will have been told."""
    told: list[Any] = []
    methods = {
        name: (lambda self, sim, i, *rest, to_told=value: told.append(to_told(i, *rest)))
        if callable(value)
        else value
        for name, value in attributes.items()
    }
    return type("Asked", (Invariant,), {"name": "A", "title": "a", **methods}), told


def test_it_is_asked_again_when_what_it_looks_at_or_the_disk_has_changed() -> None:
    asked_of = {"after": lambda i, node: (i, node.count)}
    watching, seen = asked(looks_at=("tens",), **asked_of)
    always, all_seen = asked(**asked_of)
    Simulation(Teller, n=3, invariants=(watching, always)).run(12.5)
    of_rank_0 = [count for i, count in seen if i == 0]
    assert of_rank_0 == [0, 3, 10]  # its start, its write, its tenth
    assert [count for i, count in all_seen if i == 0] == list(range(13))


def test_what_is_said_to_several_is_asked_about_once() -> None:
    says, said = asked(watches=(Word,), says=lambda i, node, m: (i, m.number))
    sends, sent = asked(watches=(Word,), sent=lambda i, to, m: (i, to, m.number))
    Simulation(Teller, n=3, invariants=(says, sends)).run(4.5)
    assert said[0] == (0, 4)
    assert sorted(said[1:]) == [(1, 4), (2, 4)]
    assert sent[:2] == [(0, 1, 4), (0, 2, 4)]
