"""Every order of everything, for small configurations: breadth-first search over the states.

A *state* is all that can matter later: each node's memory and disk, the timers that are set, and
the messages on their way. From each state, any message may arrive, any timer may run out, and, as
long as the budget lasts, any node may crash between any two effects or come back. A message need
never arrive, and any other may overtake it: that is loss and reordering. What is sent again while
it is still on its way is the same message.

The first violation that is found is one with the fewest steps.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from labkit.protocols.effects import (
    Apply,
    Broadcast,
    CancelTimer,
    Context,
    Effect,
    Message,
    Persist,
    Send,
    SetTimer,
    deliver,
    fire,
    found,
    start,
    store,
)
from labkit.simulator.node import Factory
from labkit.simulator.story import brief

State = TypeVar("State")


class Found(NamedTuple, Generic[State]):
    """What a search saw: distinct `states`, the longest shortest way to one (`depth`), and if an
    invariant broke, its words and the steps that lead there."""

    states: int
    depth: int
    violation: str = ""
    steps: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.violation:
            return f"{self.states:,} states, none deeper than {self.depth}: every invariant holds"
        told = "\n".join(f"{i + 1:3}. {step}" for i, step in enumerate(self.steps))
        return f"after {self.states:,} states:\n{told}\nand so: {self.violation}"


def search(
    initial: State,
    successors: Callable[[State], Iterable[tuple[str, State]]],
    broken: Callable[[State], str],
    key: Callable[[State], Hashable] = lambda state: state,  # type: ignore[return-value]
    limit: int = 1_000_000,
    progress: Callable[[int], None] = lambda states: None,
) -> Found[State]:
    """Visits every state that can be reached, nearest first. `broken(state)` is a sentence, or "".

    Raises RuntimeError when there are more than `limit` states.
    """
    first = key(initial)
    came: dict[Hashable, tuple[Hashable, str] | None] = {first: None}
    frontier, depth = [(first, initial)], 0
    if broken(initial):
        return Found(1, 0, broken(initial))
    while True:
        after = []
        for here, state in frontier:
            for step, new in successors(state):
                there = key(new)
                if there in came:
                    continue
                came[there] = here, step
                if len(came) > limit:
                    raise RuntimeError(f"more than {limit:,} states: make it smaller")
                violation = broken(new)
                if violation:
                    return Found(len(came), depth + 1, violation, _steps(came, there))
                after.append((there, new))
            progress(len(came))
        if not after:
            return Found(len(came), depth)
        frontier, depth = after, depth + 1


def _steps(came: dict[Hashable, Any], there: Hashable) -> tuple[str, ...]:
    steps = []
    while came[there] is not None:
        there, step = came[there]
        steps.append(step)
    return tuple(reversed(steps))


# -- the lab's protocols as such a state machine


class World(NamedTuple):
    """`memory[i]` is a node's attributes, None while it is dead; `applied` what took effect."""

    memory: tuple[dict[str, Any] | None, ...]
    disks: tuple[dict[str, Any], ...]
    timers: tuple[frozenset[tuple[str, Hashable]], ...]
    messages: frozenset[tuple[int, int, Message]]
    applied: tuple[tuple[int, int, Any], ...]
    crashes: int

    def key(self) -> bytes:
        """Of equal length for all states, and the same in every process."""
        plain = _plain(tuple(self))
        return hashlib.blake2b(repr(plain).encode(), digest_size=12).digest()


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return sorted((repr(k), _plain(v)) for k, v in value.items())
        case set() | frozenset():
            return sorted(map(repr, map(_plain, value)))
        case list() | tuple():
            return tuple(map(_plain, value))
        case msgspec.Struct():
            fields = value.__struct_fields__
            return type(value).__name__, tuple(_plain(getattr(value, f)) for f in fields)
        case _:
            return value


class Machine:
    """The steps of n nodes of a protocol that start with these `messages` on their way.

    `crashes` is how many there may be in all. Time stands still: a protocol that looks at its
    clock needs the simulator instead.
    """

    def __init__(
        self, protocol: Factory, n: int, messages: list[tuple[int, int, Message]], crashes: int = 0
    ) -> None:
        self.protocol, self.members = protocol, tuple(range(n))
        disks = tuple(found(protocol, i, self.members) for i in self.members)
        none = frozenset[Any]()
        world = World((None,) * n, disks, (none,) * n, frozenset(messages), (), crashes)
        for i in self.members:
            world = self._start(world, i)
        self.initial = world

    def successors(self, world: World) -> Iterator[tuple[str, World]]:
        for sender, to, message in sorted(world.messages, key=repr):
            if to in self.members and world.memory[to] is not None:
                what = f"rank {to} gets {brief(message)} from {sender}"
                rest = world._replace(messages=world.messages - {(sender, to, message)})
                yield from self._react(rest, to, what, deliver, sender, message)
        for i in self.members:
            if world.memory[i] is None:
                yield f"rank {i} starts again", self._start(world, i)
                continue
            for timer, key in sorted(world.timers[i], key=repr):
                timers = world.timers[i] - {(timer, key)}
                without = world._replace(timers=_put(world.timers, i, timers))
                what = f"rank {i}: its timer {timer} runs out"
                yield from self._react(without, i, what, fire, timer, key)
            if world.crashes:
                yield f"rank {i} crashes", self._crash(world, i)

    def _react(
        self, world: World, i: int, what: str, act: Callable[..., list[Effect]], *arguments: Any
    ) -> Iterator[tuple[str, World]]:
        node = self._node(world, i)
        effects = _one_by_one(act(node, *arguments))
        memory = {k: v for k, v in vars(node).items() if k != "context"}
        yield what, self._perform(world._replace(memory=_put(world.memory, i, memory)), i, effects)
        if world.crashes:
            for k in range(1, len(effects)):
                partly = self._perform(world, i, effects[:k])
                yield f"{what}, and crashes after effect {k}", self._crash(partly, i)

    def _node(self, world: World, i: int) -> Any:
        node = self.protocol(i, self.members, Context(), {})
        vars(node).update(copy.deepcopy(world.memory[i] or {}))
        return node

    def _start(self, world: World, i: int) -> World:
        node = self.protocol(i, self.members, Context(), copy.deepcopy(world.disks[i]))
        effects = _one_by_one(start(node))
        memory = {k: v for k, v in vars(node).items() if k != "context"}
        return self._perform(world._replace(memory=_put(world.memory, i, memory)), i, effects)

    def _crash(self, world: World, i: int) -> World:
        return world._replace(
            memory=_put(world.memory, i, None),
            timers=_put(world.timers, i, frozenset()),
            crashes=world.crashes - 1,
        )

    def _perform(self, world: World, i: int, effects: list[Effect]) -> World:
        disk = copy.deepcopy(world.disks[i])
        timers, messages, applied = set(world.timers[i]), set(world.messages), list(world.applied)
        for effect in effects:
            match effect:
                case Send(to, message):
                    messages.add((i, to, message))
                case Persist():
                    store(disk, effect.values)
                case SetTimer(timer, _, key):
                    timers.add((timer, key))
                case CancelTimer(timer, key):
                    timers.discard((timer, key))
                case Apply(index, command):
                    if (i, index, command) not in applied:
                        applied.append((i, index, command))
        return world._replace(
            disks=_put(world.disks, i, disk),
            timers=_put(world.timers, i, frozenset(timers)),
            messages=frozenset(messages),
            applied=tuple(sorted(applied)),
        )


def _put(values: tuple[Any, ...], i: int, value: Any) -> tuple[Any, ...]:
    return (*values[:i], value, *values[i + 1 :])


def _one_by_one(effects: list[Effect]) -> list[Effect]:
    return [
        single
        for effect in effects
        for single in (
            [Send(to, effect.message) for to in effect.to]
            if isinstance(effect, Broadcast)
            else [effect]
        )
    ]


def exhaustive(
    protocol: Factory,
    n: int,
    messages: list[tuple[int, int, Message]],
    broken: Callable[[World], str],
    crashes: int = 0,
    limit: int = 1_000_000,
    progress: Callable[[int], None] = lambda states: None,
) -> Found[World]:
    """Searches all that can happen when clients have sent `messages` (sender, receiver, message)
    and at most so many crashes come; `broken(world)` is a sentence, or "" while all is well."""
    machine = Machine(protocol, n, messages, crashes)
    return search(machine.initial, machine.successors, broken, World.key, limit, progress)


def agreement(world: World) -> str:
    """For `exhaustive`: nothing is applied differently at two nodes."""
    ends: dict[int, tuple[int, Any]] = {}
    for i, index, command in world.applied:
        j, other = ends.setdefault(index, (i, command))
        if other != command:
            return f"rank {j} applied {other} as number {index}, and rank {i} applied {command}"
    return ""
