"""The simulator: n nodes, their disks, clocks and network in one thread and in virtual time.

    sim = Simulation(Raft, n=5, seed=17, faults=FaultPlan(At(Kill(0), seconds=2.0)))
    sim.run(seconds=30)

One seed decides every delay, loss and duplicate. Each sender draws from a stream of its own, and
each life of a node from another, so that a schedule with one fault less differs only where that
fault mattered. The method is FoundationDB's deterministic simulation (J. Zhou et al., SIGMOD 2021).
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from labkit import faults
from labkit.protocols.effects import Context, Message, found
from labkit.simulator.aim import aim
from labkit.simulator.invariants import Checks, Invariant
from labkit.simulator.network import Network
from labkit.simulator.node import Factory, Node
from labkit.simulator.recorder import Recorder
from labkit.simulator.stepping import Stepping
from labkit.simulator.storage import Storage

START_SECONDS = 0.01
"""All nodes start within this time, in an order that the seed draws."""


class Simulation(Stepping):
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
        checks = Checks(tuple(make() for make in invariants))
        super().__init__(network or Network(), checks, Recorder() if record else None, wire)
        self.n, self.seed = n, seed
        self.struck = 0  # faults, so far
        self._again = partial(
            Simulation, protocol, n, seed, faults, network, invariants, clients, spares, wire,
            record=True, storage=storage,
        )  # fmt: skip
        self.members = tuple(range(n))
        factories = dict.fromkeys(range(n + spares), protocol) | dict(clients or {})
        for i, factory in factories.items():
            first = found(factory, i, self.members) if i < n else {}
            self._nodes[i] = Node(i, factory, storage(first), str(seed))
            self._nodes[i].checked = i not in (clients or {})
        start = random.Random(f"{seed}/start")
        for node in self._nodes.values():
            self._at(start.uniform(0, START_SECONDS), partial(self._first_start, node))
        for entry in faults.entries if faults else ():
            if entry.seconds is None:
                raise ValueError(f"{entry}: in the simulator a fault strikes at seconds=…")
            self._at(entry.seconds, partial(self.inject, entry.fault))

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

    def panel(self, present: bool = False) -> Any:
        """This simulation from its beginning, to be led by hand in a notebook: play, step, back,
        faults, and the fate of single messages."""
        from labkit.views.panel.simulated import SimulatedPanel

        return SimulatedPanel(self._again, present, self._spelled())

    def _spelled(self) -> str:
        """The code that makes one like it, which is recorded; what no short code says is named."""
        protocol, n, seed, *others = self._again.args
        words = ("faults", "network", "invariants", "clients", "spares", "wire")
        left = [word for word, value in zip(words, others, strict=True) if value]
        left += ["storage"] if self._again.keywords["storage"] is not Storage else []
        if not isinstance(protocol, type):
            return f"# sim is a new one: Simulation(…, n={n}, seed={seed}, record=True)"
        home, name = _public(protocol)
        lines = [f"from {home} import {name}"] if home != "__main__" else []
        lines += ["from labkit.simulator.simulation import Simulation", ""]
        lines += [f"sim = Simulation({name}, n={n}, seed={seed}, record=True)"]
        return "\n".join(lines) + (f"  # and {', '.join(left)}, as before" if left else "")

    # -- what is done to it

    def tell(self, i: int, message: Message, after: float, life: int) -> None:
        """Something that the process of node `i` says to it in this life, `after` seconds from now:
        no network is on the way."""
        self._at(self.now + after, partial(self._hear, self._nodes[i], message, life))

    def _hear(self, node: Node, message: Message, life: int) -> None:
        if node.machine is not None and node.life == life:
            self._push(self.now, self._deliver, node, node.i, message)

    def finish(self) -> Simulation:
        """Has the invariants look at the run as a whole."""
        for check in self._hooks["finished"]:
            check(self)
        return self

    # -- lives

    def _first_start(self, node: Node) -> None:
        """Unless a fault has started it before its time."""
        if node.life < 0:
            self._start(node)

    def _start(self, node: Node) -> None:
        node.life, node.state = node.life + 1, None
        node.context = Context(node.clock(self.now), f"{node.seed}/node/{node.i}/{node.life}")
        node.machine = node.factory(node.i, self.members, node.context, node.storage.recover())
        if self.recorder is not None:
            role = getattr(node.machine, "role", None)
            self.recorder.started(self.now, node.i, node.life, role)
        for check in self._hooks["started"] if node.checked else ():
            check(self, node.i, node.machine)
        self._react(node, "its start", node.machine.on_start)

    def _pause(self, node: Node, end: float) -> None:
        if node.machine is not None:
            node.paused_until = max(node.paused_until, end)
        if end < math.inf:
            self._at(end, partial(self._pause_is_over, node, end))

    def _pause_is_over(self, node: Node, end: float) -> None:
        if node.paused_until <= end:  # no longer one has begun, in this life or a later one
            self.inject(faults.Resume(node.i))

    def _resume(self, node: Node) -> None:
        """What waited is handled now, messages or timers first, whichever the seed says."""
        if node.paused:
            node.paused_until, node.resumed = 0.0, self.now
        held, node.held = node.held, []
        first = self._deliver if node.draw.random() < 0.5 else self._timer
        for act, a, b in sorted(held, key=lambda waiting: waiting[0] != first):
            if act == self._timer:
                node.timers[a][1] = self.now
            self._push(self.now, act, node, a, b)

    # -- faults

    def inject(self, fault: faults.Fault) -> None:
        aimed = aim(fault, self.leader())
        if aimed is None:
            return None  # nobody leads
        fault = aimed
        self.struck += 1
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
                self._pause(node, math.inf if seconds is None else self.now + seconds)
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
        if self.recorder is not None and self.struck:
            self.recorder.fault(self.now, faults.Heal())
        self.links.settle()
        for i, node in self._nodes.items():
            node.crash_after, node.storage.failing = None, False
            if node.rate != 1.0:
                self.inject(faults.Drift(i, 1.0))
            if node.paused:
                self.inject(faults.Resume(i))
        self._revive()
        return self

    def _revive(self) -> None:
        for node in self._nodes.values():
            if node.machine is None and node.life >= 0:
                self._start(node)


def _public(protocol: type) -> tuple[str, str]:
    """The package that offers it, or else its own module, and its name there."""
    package = sys.modules.get(protocol.__module__.rpartition(".")[0])
    for name, value in vars(package).items() if package else ():
        if value is protocol:
            return protocol.__module__.rpartition(".")[0], name
    return protocol.__module__, protocol.__qualname__
