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
    one_by_one,
)
from labkit.simulator.invariants import Checks
from labkit.simulator.network import Links, Network
from labkit.simulator.node import Node
from labkit.simulator.recorder import Recorder

Act = Callable[[Any, Any, Any], None]
"""What is to happen in its time: a message arrives, a timer runs out, or something is done."""


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
        self._state, self._after = checks.state, checks.after_all
        self._after_change = checks.after_change
        self._sent: dict[type, list[list[Any]]] = {}
        self._received: dict[type, tuple[str, list[Any]]] = {}
        self._queue: list[tuple[float, int, Act, Any, Any, Any]] = []
        self._count = itertools.count()
        self._nodes: dict[int, Node] = {}

    # -- running

    def run(self, seconds: float) -> Self:
        """Lets `seconds` of virtual time pass."""
        end = self.now + seconds
        queue = self._queue
        while queue and queue[0][0] <= end:
            self.now, _, act, node, a, b = heappop(queue)
            act(node, a, b)
        self.now = end
        return self

    def run_until(self, predicate: Callable[[Self], bool], within: float) -> bool:
        """Runs until `predicate` holds; False when it does not within so many seconds."""
        end = self.now + within
        while not predicate(self):
            if not self._queue or self._queue[0][0] > end:
                self.now = end
                return False
            self.now, _, act, node, a, b = heappop(self._queue)
            act(node, a, b)
        return True

    def _push(self, time: float, act: Act, node: Any, a: Any, b: Any) -> None:
        """`act(node, a, b)` happens at that time, behind what was asked for earlier."""
        heappush(self._queue, (time, next(self._count), act, node, a, b))

    def _at(self, time: float, action: Callable[[], Any]) -> None:
        self._push(time, _do, action, None, None)

    def _deliver(self, node: Node, sender: int, message: Message) -> None:
        if node.machine is None:
            return
        if node.paused:
            node.held.append((self._deliver, sender, message))
            return
        self.delivered += 1
        kind = type(message)
        if kind not in self._received:
            self._received[kind] = handler(kind), self._checks.watching("received", kind)
        on_message, watching = self._received[kind]
        node.context.now = node.clock(self.now) if node.drifts else self.now
        for check in watching:
            check(self, node.i, sender, message)
        if self.recorder is not None:
            self.recorder.received(self.now, node.i, node.life, sender, message)
        self._react(node, message, getattr(node.machine, on_message), sender, message)

    def _timer(self, node: Node, timer: tuple[str, Hashable], life: int) -> None:
        state = node.timers.get(timer)
        if node.life != life or state is None or state[1] != self.now:
            return  # of an earlier life, or set anew since
        deadline = state[0]
        if deadline is None:
            del node.timers[timer]
        elif deadline > self.now:  # it was put off: look again then
            state[1] = deadline
            self._push(deadline, self._timer, node, timer, life)
        elif node.paused:
            node.held.append((self._timer, timer, life))
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
            state = self._state(node.machine)
            if state != node.state:
                node.state = state
                for check in self._after_change:
                    check(self, node.i, node.machine)
            for check in self._after:
                check(self, node.i, node.machine)

    # -- effects

    def _perform(self, node: Node, effects: list[Effect]) -> None:
        crash = False
        if node.crash_after is not None:
            single = one_by_one(effects)
            if len(single) > node.crash_after:
                effects, crash = single[: node.crash_after], True
        for effect in effects:
            kind = type(effect)
            if kind is Send:
                self._send(node, (effect.to,), effect.message)  # type: ignore[union-attr, arg-type]
            elif kind is Broadcast:
                self._send(node, effect.to, effect.message)  # type: ignore[union-attr, arg-type]
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
                node.state = None  # what is compared with the disk is looked at again
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

    def _send(self, node: Node, targets: tuple[int, ...], message: Message) -> None:
        kind = type(message)
        if kind not in self._sent:
            self._sent[kind] = [self._checks.watching(hook, kind) for hook in ("says", "sent")]
        says, sent = self._sent[kind]
        i = node.i
        for check in says:
            check(self, i, node.machine, message)
        for to in targets:
            for check in sent:
                check(self, i, to, message)
            if to not in self._nodes:
                raise ValueError(f"rank {i} sends {message} to {to}: there is no such node")
            if self.wire:
                message = copied(message)
            if self.recorder is not None:
                self.recorder.sent(self.now, i, node.life, to, message)
            self._carry(node, to, message)

    def _carry(self, node: Node, to: int, message: Message) -> None:
        links, draw, target = self.links, node.draw, self._nodes[to]
        if links.calm and target is not node:
            time = self.now + (links.low + links.spread * draw.random())
            heappush(self._queue, (time, next(self._count), self._deliver, target, node.i, message))
        else:
            for delay in links.arrivals(node.i, to, draw):
                self._push(self.now + delay, self._deliver, target, node.i, message)

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
            self._push(deadline, self._timer, node, timer, node.life)

    def _crash(self, node: Node) -> None:
        if node.machine is None:
            return
        node.machine = None
        node.timers, node.held = {}, []
        node.paused_until, node.crash_after = 0.0, None
        node.storage.crash()
        if self.recorder is not None:
            self.recorder.crashed(self.now, node.i, node.life)
        for check in self._hooks["crashed"]:
            check(self, node.i)


def _do(action: Callable[[], Any], _a: None, _b: None) -> None:
    action()
