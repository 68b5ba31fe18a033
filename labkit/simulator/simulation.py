"""The simulator: n nodes, their disks, clocks and network in one thread and in virtual time.

    sim = Simulation(Raft, n=5, seed=17, faults=FaultPlan(At(Kill(0), seconds=2.0)))
    sim.run(seconds=30)

One seed decides every delay, loss and duplicate. Each sender draws from a stream of its own, and
each life of a node from another, so that a schedule with one fault less differs only where that
fault mattered. The method is FoundationDB's deterministic simulation (J. Zhou et al., SIGMOD 2021).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Hashable, Mapping
from heapq import heappop, heappush
from typing import Any

from labkit import faults
from labkit.disk import DiskFailure
from labkit.protocols.codec import copied
from labkit.protocols.effects import (
    Apply,
    Broadcast,
    CancelTimer,
    Context,
    Effect,
    Message,
    Persist,
    Record,
    Send,
    SetTimer,
    found,
    handler,
)
from labkit.simulator.aim import aim
from labkit.simulator.invariants import Checks, Invariant
from labkit.simulator.network import Links, Network
from labkit.simulator.node import Factory, Node
from labkit.simulator.recorder import Recorder
from labkit.simulator.storage import Storage

MESSAGE, TIMER, FAULT, START, LOCAL = range(5)
START_SECONDS = 0.01
"""All nodes start within this time, in an order that the seed draws."""


class Simulation:
    """`protocol(me, members, context, stored)` runs as nodes 0 to n - 1; then come `spares`, which
    are told of the members but are none, and `clients`, nodes with ids of their own that never
    fail and that no invariant looks into.

    With `wire`, messages are encoded and decoded on their way, as between processes; with `record`,
    `events` and `trace` hold all that happened. Raises `Violation` while it runs.
    """

    def __init__(
        self,
        protocol: Factory,
        n: int = 3,
        seed: int = 0,
        faults: faults.FaultPlan | None = None,
        network: Network | None = None,
        invariants: tuple[type[Invariant], ...] = (),
        clients: Mapping[int, Factory] | None = None,
        spares: int = 0,
        wire: bool = False,
        record: bool = False,
        storage: Callable[[Mapping[str, Any]], Storage] = Storage,
    ) -> None:
        self.n, self.seed, self.wire = n, seed, wire
        self.members = tuple(range(n))
        self.now = 0.0
        self.delivered = 0
        self.links = Links(network or Network())
        self.recorder = Recorder() if record else None
        self._checks = Checks(tuple(make() for make in invariants))
        self._hooks = self._checks.by_hook
        self._after = self._hooks["after"]
        self._sent: dict[type, list[Any]] = {}
        self._received: dict[type, list[Any]] = {}
        self._queue: list[tuple[float, int, int, int, Any, Any]] = []
        self._count = itertools.count()
        self._nodes: dict[int, Node] = {}
        factories = dict.fromkeys(range(n + spares), protocol) | dict(clients or {})
        for i, factory in factories.items():
            first = found(factory, i, self.members) if i < n else {}
            self._nodes[i] = Node(i, factory, storage(first), str(seed))
            self._nodes[i].checked = i not in (clients or {})
        start = random.Random(f"{seed}/start")
        for i in self._nodes:
            self._push(start.uniform(0, START_SECONDS), START, i)
        for entry in faults.entries if faults else ():
            if entry.seconds is None:
                raise ValueError(f"{entry}: in the simulator a fault strikes at seconds=…")
            self._push(entry.seconds, FAULT, -1, entry.fault)

    # -- what there is to see

    @property
    def nodes(self) -> dict[int, Any]:
        """The protocol's object of each node; None while it is dead."""
        return {i: node.machine for i, node in self._nodes.items()}

    @property
    def stored(self) -> dict[int, dict[str, Any]]:
        """What is durable on each node. To look at, not to change."""
        return {i: node.storage.stored for i, node in self._nodes.items()}

    def node(self, i: int) -> Any:
        return self._nodes[i].machine

    def on_disk(self, i: int) -> dict[str, Any]:
        return self._nodes[i].storage.stored

    def alive(self, i: int) -> bool:
        return self._nodes[i].machine is not None

    def running(self, i: int) -> bool:
        """Neither dead nor paused."""
        return self.alive(i) and not self._nodes[i].paused

    def resumed(self, i: int) -> float:
        """When node `i` last went on after a pause; 0 if it never did."""
        return self._nodes[i].resumed

    def life(self, i: int) -> int:
        """How often node `i` has been started again; -1 before its first start."""
        return self._nodes[i].life

    def leader(self) -> int | None:
        """The node that leads, as it believes; of several the one with the highest term."""
        leading = [i for i in self._nodes if self.alive(i) and self.node(i).leads]
        return max(leading, key=lambda i: getattr(self.node(i), "term", 0), default=None)

    @property
    def events(self) -> list[Any]:
        """All events, for `timeline`; empty without `record`."""
        return self.recorder.events if self.recorder else []

    def timeline(self, **options: Any) -> Any:
        """The picture of the run: roles, crashes, faults, and the messages if they are few."""
        from labkit.views.timeline import timeline

        if self.recorder is None:
            raise RuntimeError("nothing was recorded: Simulation(…, record=True)")
        return timeline(self.events, **options)

    # -- running

    def run(self, seconds: float) -> Simulation:
        """Lets `seconds` of virtual time pass."""
        end = self.now + seconds
        queue = self._queue
        while queue and queue[0][0] <= end:
            self._step()
        self.now = end
        return self

    def run_until(self, predicate: Callable[[Simulation], bool], within: float) -> bool:
        """Runs until `predicate` holds; False when it does not within so many seconds."""
        end = self.now + within
        while not predicate(self):
            if not self._queue or self._queue[0][0] > end:
                self.now = end
                return False
            self._step()
        return True

    def tell(self, i: int, message: Message, after: float, life: int) -> None:
        """Something that the process of node `i` says to it in this life, `after` seconds from now:
        no network is on the way."""
        self._push(self.now + after, LOCAL, i, message, life)

    def finish(self) -> Simulation:
        """Has the invariants look at the run as a whole."""
        for check in self._hooks["finished"]:
            check(self)
        return self

    def _push(self, time: float, kind: int, i: int, a: Any = None, b: Any = None) -> None:
        heappush(self._queue, (time, next(self._count), kind, i, a, b))

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
        elif kind == FAULT:
            self.inject(a)
        elif kind == LOCAL:
            self._hear(self._nodes[i], a, b)
        else:
            self._start(self._nodes[i])

    def _hear(self, node: Node, message: Message, life: int) -> None:
        if node.machine is not None and node.life == life:
            self._push(self.now, MESSAGE, node.i, node.i, message)

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

    # -- lives

    def _start(self, node: Node) -> None:
        node.life += 1
        node.context = Context(node.clock(self.now), f"{node.seed}/node/{node.i}/{node.life}")
        node.machine = node.factory(node.i, self.members, node.context, node.storage.recover())
        if self.recorder is not None:
            role = getattr(node.machine, "role", None)
            self.recorder.started(self.now, node.i, node.life, role)
        for check in self._hooks["started"] if node.checked else ():
            check(self, node.i, node.machine)
        self._react(node, "its start", node.machine.on_start)

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

    def _resume(self, node: Node) -> None:
        """What waited is handled now, messages or timers first, whichever the seed says."""
        node.paused, node.resumed = False, self.now
        held, node.held = node.held, []
        first = MESSAGE if node.draw.random() < 0.5 else TIMER
        for kind, a, b in sorted(held, key=lambda waiting: waiting[0] != first):
            if kind == TIMER:
                node.timers[a][1] = self.now
            self._push(self.now, kind, node.i, a, b)

    # -- faults

    def inject(self, fault: faults.Fault) -> None:
        aimed = aim(fault, self.leader())
        if aimed is None:
            return None  # nobody leads
        fault = aimed
        if self.recorder is not None:
            self.recorder.fault(self.now, fault)
        if isinstance(fault, faults.Revive):
            return self._revive()
        rank = getattr(fault, "rank", None)
        if rank is None or isinstance(fault, faults.Slow):
            return self.links.inject(fault)
        node = self._nodes[rank]
        match fault:
            case faults.Kill():
                self._crash(node)
            case faults.Restart():
                self._crash(node)
                self._start(node)
            case faults.Pause(seconds=seconds):
                node.paused = node.machine is not None
                if seconds is not None:
                    self._push(self.now + seconds, FAULT, -1, faults.Resume(rank))
            case faults.Resume():
                self._resume(node)
            case faults.CrashAt(effects=effects):
                node.crash_after = effects
            case faults.LostWrite():
                node.storage.lie()
            case faults.DiskError():
                node.storage.failing = True
            case faults.WipeDisk():
                self._crash(node)
                node.storage.wipe()
            case faults.Drift(rate=rate):
                node.set_rate(self.now, rate)

    def heal(self) -> Simulation:
        """The end of all faults: a perfect network, true clocks, sound disks, everyone alive."""
        self.links.settle()
        for i, node in self._nodes.items():
            node.crash_after, node.storage.failing = None, False
            self.inject(faults.Drift(i, 1.0))
            if node.paused:
                self.inject(faults.Resume(i))
        self._revive()
        return self

    def _revive(self) -> None:
        for node in self._nodes.values():
            if node.machine is None and node.life >= 0:
                self._start(node)


def _one_by_one(effects: list[Effect]) -> list[Effect]:
    """A `Broadcast` as the sends that it stands for: a crash may fall between them."""
    single: list[Effect] = []
    for effect in effects:
        if isinstance(effect, Broadcast):
            single += [Send(to, effect.message) for to in effect.to]
        else:
            single.append(effect)
    return single
