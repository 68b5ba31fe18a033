"""Every order of everything, for small configurations of the lab's protocols.

A *state* is all that can matter later: each node's memory, disk and timers, and all messages that
were ever sent. In each state any of these may arrive, any timer may run out, any node may crash
between any two effects, as long as the budget of crashes lasts, and what is dead may come back.

A message stays in the network for ever, as in L. Lamport's specifications: it may arrive at any
time, more than once, or never, so that loss, delay, reordering and duplicates are all there. What
clients say (nodes that are no members) arrives once at most.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple

import msgspec

from labkit.protocols.effects import (
    Apply,
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
    one_by_one,
    start,
    store,
)
from labkit.simulator.node import Factory
from labkit.simulator.search import Found, search
from labkit.simulator.story import brief


class NodeState(NamedTuple):
    """`memory` holds the node's attributes, None while it is dead; `applied` what took effect in
    all its lives. To look at, not to change: many states share it."""

    memory: dict[str, Any] | None
    disk: dict[str, Any]
    timers: frozenset[tuple[str, Hashable]] = frozenset()
    applied: tuple[tuple[int, Any], ...] = ()


class World(NamedTuple):
    """A state of all: numbers of the nodes' states and of the messages, which `Machine` knows. So
    a world is a few numbers, the same ones in every process. `crashes` are those still to come."""

    nodes: tuple[int, ...]
    messages: frozenset[int]
    crashes: int


class Outcome(NamedTuple):
    """What becomes of a node that handles something, and the messages that it sends."""

    step: str
    node: int
    sent: frozenset[int]
    crashed: bool


class View(NamedTuple):
    """A world as an invariant sees it; a message with its sender and receiver."""

    nodes: tuple[NodeState, ...]
    messages: tuple[tuple[int, int, Message], ...]


class Machine:
    """The steps of n nodes of a protocol that start with these `messages` on their way, and crash
    at most so often.

    Time stands still: a protocol that looks at its clock needs the simulator instead. What a node
    does depends on nothing but its own state, so it is computed once and looked up from then on.
    """

    def __init__(
        self,
        protocol: Factory,
        n: int,
        messages: Iterable[tuple[int, int, Message]],
        crashes: int = 0,
    ) -> None:
        self.protocol, self.members = protocol, tuple(range(n))
        self.nodes: list[NodeState] = []
        self.messages: list[tuple[int, int, Message]] = []
        self._numbers: dict[Any, int] = {}
        self._outcomes: dict[tuple[int, int, Any], list[Outcome]] = {}
        world = World((), frozenset(map(self._message, messages)), crashes)
        for i in self.members:
            node = self._node(NodeState(None, found(protocol, i, self.members)))
            started = self._handle(i, node, "start")[0]
            world = world._replace(
                nodes=(*world.nodes, started.node), messages=world.messages | started.sent
            )
        self.initial = world

    def view(self, world: World) -> View:
        messages = tuple(self.messages[number] for number in sorted(world.messages))
        return View(tuple(self.nodes[number] for number in world.nodes), messages)

    def successors(self, world: World) -> Iterator[tuple[str, World]]:
        for number in sorted(world.messages):
            to = self.messages[number][1]
            if to in self.members and self.nodes[world.nodes[to]].memory is not None:
                once = self.messages[number][0] not in self.members
                rest = world._replace(messages=world.messages - {number}) if once else world
                yield from self._react(rest, to, number)
        for i, number in enumerate(world.nodes):
            node = self.nodes[number]
            if node.memory is None:
                yield from self._react(world, i, "start")
                continue
            for timer in sorted(node.timers, key=repr):
                yield from self._react(world, i, timer)
            if world.crashes:
                yield f"rank {i} crashes", self._put(world, i, self._dead(node), frozenset(), True)

    def _react(self, world: World, i: int, event: Any) -> Iterator[tuple[str, World]]:
        key = i, world.nodes[i], event
        if key not in self._outcomes:
            self._outcomes[key] = self._handle(*key)
        for step, node, sent, crashed in self._outcomes[key]:
            if not crashed or world.crashes:
                yield step, self._put(world, i, node, sent, crashed)

    def _put(self, world: World, i: int, node: int, sent: frozenset[int], crashed: bool) -> World:
        nodes = (*world.nodes[:i], node, *world.nodes[i + 1 :])
        return World(nodes, world.messages | sent, world.crashes - crashed)

    def _handle(self, i: int, number: int, event: Any) -> list[Outcome]:
        """All that can come of an event: all effects happen, or the first few and a crash."""
        before = self.nodes[number]
        if event == "start":
            step = f"rank {i} starts" + (" again" if hasattr(self, "initial") else "")
            machine = self.protocol(i, self.members, Context(), copy.deepcopy(before.disk))
            effects = start(machine)
        else:
            machine = self.protocol(i, self.members, Context(), {})
            vars(machine).update(copy.deepcopy(before.memory or {}))
            if isinstance(event, int):
                sender, _, message = self.messages[event]
                step = f"rank {i} gets {brief(message)} from {sender}"
                effects = deliver(machine, sender, message)
            else:
                step = f"rank {i}: its timer {event[0]} runs out"
                before = before._replace(timers=before.timers - {event})
                effects = fire(machine, *event)
        single = one_by_one(effects)
        memory = {k: v for k, v in vars(machine).items() if k != "context"}
        node, sent = self._perform(i, before._replace(memory=memory), single)
        outcomes = [Outcome(step, self._node(node), sent, False)]
        for k in range(1, len(single)):
            node, sent = self._perform(i, before, single[:k])
            crash = f"{step}, and crashes after effect {k}"
            outcomes.append(Outcome(crash, self._dead(node), sent, True))
        return outcomes

    def _perform(
        self, i: int, node: NodeState, effects: list[Effect]
    ) -> tuple[NodeState, frozenset[int]]:
        disk, timers = copy.deepcopy(node.disk), set(node.timers)
        applied, sent = set(node.applied), set()
        for effect in effects:
            match effect:
                case Send(to, message):
                    sent.add(self._message((i, to, message)))
                case Persist():
                    store(disk, effect.values)
                case SetTimer(timer, _, key):
                    timers.add((timer, key))
                case CancelTimer(timer, key):
                    timers.discard((timer, key))
                case Apply(index, command):
                    applied.add((index, command))
        ordered = tuple(sorted(applied, key=repr))
        return NodeState(node.memory, disk, frozenset(timers), ordered), frozenset(sent)

    # -- numbers for what is large

    def _dead(self, node: NodeState) -> int:
        return self._node(node._replace(memory=None, timers=frozenset()))

    def _node(self, node: NodeState) -> int:
        return self._number(self.nodes, node)

    def _message(self, message: tuple[int, int, Message]) -> int:
        return self._number(self.messages, message)

    def _number(self, known: list[Any], value: Any) -> int:
        """The place in the list of all that are known: of two that look the same, the same."""
        number = self._numbers.setdefault(repr(plain(value)), len(known))
        if number == len(known):
            known.append(value)
        return number


def plain(value: Any) -> Any:
    """Equal for equal values, in every process, whatever order their sets and dictionaries have."""
    match value:
        case Mapping():
            return "dict", sorted((repr(plain(k)), plain(v)) for k, v in value.items())
        case set() | frozenset():
            return "set", sorted(repr(plain(item)) for item in value)
        case list() | tuple():
            return tuple(map(plain, value))
        case msgspec.Struct():
            fields = value.__struct_fields__
            return type(value).__name__, tuple(plain(getattr(value, f)) for f in fields)
        case type() | FunctionType():
            return value.__qualname__
        case None | bool() | int() | float() | str() | bytes():
            return value
        case partial():
            return plain((value.func, value.args, value.keywords))
        case _:
            return type(value).__name__, plain(vars(value))


def exhaustive(
    protocol: Factory,
    n: int,
    messages: Iterable[tuple[int, int, Message]],
    broken: Callable[[View], str] = lambda view: "",
    forbidden: Callable[[View, View], str] | None = None,
    *,
    crashes: int = 0,
    depth: int | None = None,
    limit: int = 1_000_000,
    progress: Callable[[int], None] = lambda states: None,
) -> Found:
    """Searches all that can happen when clients have sent `messages` (sender, receiver, message)
    and nodes crash at most so often. As in `search`, `broken(view)` judges states and
    `forbidden(before, after)` steps; when there is no end to it, give a `depth`."""
    machine = Machine(protocol, n, messages, crashes)
    view = machine.view

    def judge(world: World) -> str:
        return broken(view(world))

    def judge_step(before: World, after: World) -> str:
        return forbidden(view(before), view(after)) if forbidden else ""

    return search(machine.initial, machine.successors, judge, judge_step, depth, limit, progress)


def agreement(view: View) -> str:
    """For `exhaustive`: nothing is applied differently at two nodes, or at one."""
    ends: dict[int, tuple[int, Any]] = {}
    for i, node in enumerate(view.nodes):
        for index, command in node.applied:
            j, other = ends.setdefault(index, (i, command))
            if other != command:
                return f"rank {j} applied {other} as number {index}, and rank {i} applied {command}"
    return ""
