"""The engine of the simulator: a queue of what will happen, in virtual time, and what comes of the
effects that a handler yields. It knows no faults but those that strike inside a handler; clusters
are made, looked at and broken in `labkit.simulator.simulation`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from typing import Any, Self

from labkit.disk import DiskFailure
from labkit.protocols.codec import copied
from labkit.protocols.effects import (
    Apply,
    Broadcast,
    CancelTimer,
    Effect,
    Message,
    Persist,
    Record,
    Send,
    SetTimer,
    handler,
)
from labkit.simulator.invariants import Checks
from labkit.simulator.network import Links, Network
from labkit.simulator.node import Node
from labkit.simulator.recorder import Recorder

MESSAGE, TIMER, ACTION = range(3)


class Engine:
    """`now` is the virtual time in seconds, `delivered` counts messages. With `wire`, messages are
    encoded and decoded on their way, as between processes."""

    def __init__(
        self, network: Network, checks: Checks, recorder: Recorder | None, wire: bool
    ) -> None:
        self.now = 0.0
        self.delivered = 0
        self.wire = wire
        self.links = Links(network)
        self.recorder = recorder
        self._checks = checks
        self._hooks = checks.by_hook
        self._after = self._hooks["after"]
        self._sent: dict[type, list[Any]] = {}
        self._received: dict[type, list[Any]] = {}
        self._queue: list[tuple[float, int, int, int, Any, Any]] = []
        self._count = itertools.count()
        self._nodes: dict[int, Node] = {}

    # -- running

    def run(self, seconds: float) -> Self:
        """Lets `seconds` of virtual time pass."""
        end = self.now + seconds
        queue = self._queue
        while queue and queue[0][0] <= end:
            self._step()
        self.now = end
        return self

    def run_until(self, predicate: Callable[[Self], bool], within: float) -> bool:
        """Runs until `predicate` holds; False when it does not within so many seconds."""
        end = self.now + within
        while not predicate(self):
            if not self._queue or self._queue[0][0] > end:
                self.now = end
                return False
            self._step()
        return True

    def _push(self, time: float, kind: int, i: int, a: Any = None, b: Any = None) -> None:
        heappush(self._queue, (time, next(self._count), kind, i, a, b))

    def _at(self, time: float, action: Callable[[], Any]) -> None:
        self._push(time, ACTION, -1, action)

    def _step(self) -> None:
        self.now, _, kind, i, a, b = heappop(self._queue)
        if kind == MESSAGE:
            node = self._nodes[i]
            if node.machine is None:
                return
            if node.paused:
                node.held.append((MESSAGE, a, b))
                return
            self.delivered += 1
            self._receive(node, a, b)
        elif kind == TIMER:
            self._timer(self._nodes[i], a, b)
        else:
            a()

    def _receive(self, node: Node, sender: int, message: Message) -> None:
        kind = type(message)
        node.context.now = node.clock(self.now) if node.drifts else self.now
        watching = self._received.get(kind)
        if watching is None:
            watching = self._received[kind] = self._checks.watching("received", kind)
        for check in watching:
            check(self, node.i, sender, message)
        if self.recorder is not None:
            self.recorder.received(self.now, node.i, node.life, sender, message)
        self._react(node, message, getattr(node.machine, handler(kind)), sender, message)

    def _timer(self, node: Node, timer: tuple[str, Hashable], life: int) -> None:
        state = node.timers.get(timer)
        if node.life != life or state is None or state[1] != self.now:
            return  # of an earlier life, or set anew since
        deadline = state[0]
        if deadline is None:
            del node.timers[timer]
        elif deadline > self.now:  # it was put off: look again then
            state[1] = deadline
            self._push(deadline, TIMER, node.i, timer, life)
        elif node.paused:
            node.held.append((TIMER, timer, life))
        else:
            del node.timers[timer]
            self._fire(node, *timer)

    def _fire(self, node: Node, timer: str, key: Hashable) -> None:
        node.context.now = node.clock(self.now)
        if self.recorder is not None:
            self.recorder.fired(self.now, node.i, node.life, timer, key)
        keys = () if key is None else (key,)
        self._react(node, timer, getattr(node.machine, "on_" + timer), *keys)

    def _react(self, node: Node, to: object, act: Callable[..., Any], *arguments: Any) -> None:
        try:
            effects = act(*arguments)
            if effects is not None:  # drained before anything is done
                effects = list(effects)
        except Exception as error:
            error.add_note(f"rank {node.i} at {self.now:.6f} s of virtual time, handling {to}")
            raise
        if effects:
            self._perform(node, effects)
        if node.machine is not None and node.checked:
            for check in self._after:
                check(self, node.i, node.machine)

    # -- effects

    def _perform(self, node: Node, effects: list[Effect]) -> None:
        crash = False
        if node.crash_after is not None:
            single = _one_by_one(effects)
            if len(single) > node.crash_after:
                effects, crash = single[: node.crash_after], True
        for effect in effects:
            kind = type(effect)
            if kind is Send:
                self._send(node, effect.to, effect.message)  # type: ignore[union-attr, arg-type]
            elif kind is Broadcast:
                for to in effect.to:  # type: ignore[union-attr]
                    self._send(node, to, effect.message)  # type: ignore[union-attr, arg-type]
            elif kind is SetTimer:
                self._set_timer(node, effect)  # type: ignore[arg-type]
            elif not self._perform_rarer(node, effect):
                return
        if crash:
            self._crash(node)

    def _perform_rarer(self, node: Node, effect: Effect) -> bool:
        """False when the node has stopped."""
        match effect:
            case Apply():
                for check in self._hooks["applied"]:
                    check(self, node.i, effect)
            case Persist():
                try:
                    node.storage.persist(effect.values)
                except DiskFailure:
                    self._crash(node)
                    return False
                for check in self._hooks["persisted"]:
                    check(self, node.i, effect.values)
            case CancelTimer(timer, key):
                if (timer, key) in node.timers:
                    node.timers[timer, key][0] = None
            case Record():
                for check in self._hooks["recorded"]:
                    check(self, node.i, effect)
            case _:
                raise TypeError(f"rank {node.i} yielded {effect!r}, which is not an effect")
        if self.recorder is not None:
            self.recorder.did(self.now, node.i, node.life, effect)
        return True

    def _send(self, node: Node, to: int, message: Message) -> None:
        watching = self._sent.get(type(message))
        if watching is None:
            watching = self._sent[type(message)] = self._checks.watching("sent", type(message))
        for check in watching:
            check(self, node.i, to, message)
        if to not in self._nodes:
            raise ValueError(f"rank {node.i} sends {message} to {to}: there is no such node")
        if self.wire:
            message = copied(message)
        if self.recorder is not None:
            self.recorder.sent(self.now, node.i, node.life, to, message)
        links = self.links
        if to == node.i:
            self._push(self.now, MESSAGE, to, node.i, message)
        elif links.calm:
            network = links.network
            delay = network.low + (network.high - network.low) * node.draw.random()
            entry = (self.now + delay, next(self._count), MESSAGE, to, node.i, message)
            heappush(self._queue, entry)
        else:
            for delay in links.arrivals(node.i, to, node.draw):
                self._push(self.now + delay, MESSAGE, to, node.i, message)

    def _set_timer(self, node: Node, effect: SetTimer) -> None:
        """An election timer is put off by every heartbeat: its entry in the queue stays where it
        is, and looks at the deadline when its time comes."""
        timer = effect.timer, effect.key
        deadline = self.now + effect.after / node.rate
        state = node.timers.get(timer)
        if state is None:
            state = node.timers[timer] = [deadline, None]
        state[0] = deadline
        if state[1] is None or state[1] > deadline:
            state[1] = deadline
            self._push(deadline, TIMER, node.i, timer, node.life)

    def _crash(self, node: Node) -> None:
        if node.machine is None:
            return
        node.machine = None
        node.timers, node.held = {}, []
        node.paused, node.crash_after = False, None
        node.storage.crash()
        if self.recorder is not None:
            self.recorder.crashed(self.now, node.i, node.life)
        for check in self._hooks["crashed"]:
            check(self, node.i)


def _one_by_one(effects: list[Effect]) -> list[Effect]:
    """A `Broadcast` as the sends that it stands for: a crash may fall between them."""
    single: list[Effect] = []
    for effect in effects:
        if isinstance(effect, Broadcast):
            single += [Send(to, effect.message) for to in effect.to]
        else:
            single.append(effect)
    return single
