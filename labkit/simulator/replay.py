"""A run of real processes, played again by the model (trace validation; compare A. Cirstea et al.,
"Validating Traces of Distributed Programs Against TLA+ Specifications", 2024).

Each node of the run has written down what it was given to handle and a digest of the effects that
it yielded (`labkit.protocols.handled`); the cluster's own, which agree on views and checkpoints, do
so where LABKIT_TRACE is 1. The model gets the same, in the order of the clock that all processes of
a host share, and every step must be one that the model allows: a message that arrives has been
sent, a timer that runs out was set and is due, a disk gives back what was persisted, and equal
inputs yield equal effects. The invariants look on, as they do in any simulation.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from labkit.protocols import handled
from labkit.protocols.codec import decoder, encode, message_decoder
from labkit.protocols.effects import Context, Effect, Message, Persist, SetTimer, stored_types
from labkit.protocols.handled import Begun, Handled, digest
from labkit.protocols.journal import Codec
from labkit.simulator.invariants import Invariant
from labkit.simulator.node import Factory, Node
from labkit.simulator.simulation import Simulation

_timer = decoder(tuple[str, Any])

STOOD_STILL = 0.1
"""Seconds by which a timer is overdue when its process was paused, or got no processor."""


class Divergence(AssertionError):
    """A step of the real run that the model does not allow."""


class Replay(Simulation):
    """`steps` counts what was handled, `lives` the starts of nodes. Times are those of the run."""

    def __init__(
        self,
        protocol: Factory,
        n: int,
        invariants: tuple[type[Invariant], ...] = (),
        clients: Mapping[int, Factory] | None = None,
    ) -> None:
        super().__init__(protocol, n, invariants=invariants, clients=clients, record=True)
        self._queue.clear()  # nothing happens by itself
        self.steps = self.lives = 0
        self._flying: dict[tuple[int, int], Counter[bytes]] = {}
        self._decode = {i: message_decoder(node.factory).decode for i, node in self._nodes.items()}
        self._codec = {i: Codec(stored_types(node.factory)) for i, node in self._nodes.items()}
        self._entry: Handled | None = None
        self._next_life: Begun | None = None

    def step(self, i: int, entry: Begun | Handled, next_life: Begun | None) -> None:
        """One entry of node `i`; `next_life` is the one behind it if that begins another life.
        Raises Divergence or Violation."""
        node = self._nodes[i]
        self.now = entry.now
        if isinstance(entry, Begun):
            self.lives += 1
            return self._begin(node, entry)
        self.steps += 1
        self._entry, self._next_life = entry, next_life
        node.context.now = entry.now
        due = min((deadline for deadline, _ in node.timers.values() if deadline), default=self.now)
        if due < self.now - STOOD_STILL:
            node.resumed = entry.now  # what it does now it could not do when that was due
        match entry.kind:
            case "start":
                assert node.machine is not None
                self._react(node, "its start", node.machine.on_start)
            case "message":
                self._arrive(node, entry)
            case "timer":
                self._run_out(node, *_timer.decode(entry.what))
            case word:
                self._react(node, word, getattr(node.machine, f"on_{word}"), entry.peer)
        return None

    # -- what the model allows

    def _begin(self, node: Node, begun: Begun) -> None:
        self._crash(node)
        codec = self._codec[node.i]
        stored, mine = codec.decode(begun.stored), codec.decode(codec.encode(node.storage.stored))
        if stored != mine:
            self._diverge(node, f"its disk gave back {stored}, and {mine} had been persisted")
        node.life = begun.life
        node.context = Context(begun.now, begun.seed)
        node.machine = node.factory(node.i, begun.members, node.context, stored)
        if self.recorder is not None:
            self.recorder.started(self.now, node.i, node.life)
        for check in self._hooks["started"] if node.checked else ():
            check(self, node.i, node.machine)

    def _arrive(self, node: Node, entry: Handled) -> None:
        assert entry.peer is not None
        flying = self._flying.get((entry.peer, node.i), Counter())
        message = self._decode[node.i](entry.what)
        if entry.peer != node.i:  # else it is its host's word
            if flying[entry.what] == 0:
                self._diverge(node, f"{message} arrived, and rank {entry.peer} has not sent it")
            flying[entry.what] -= 1
        self._deliver(node, entry.peer, message)

    def _run_out(self, node: Node, timer: str, key: Hashable) -> None:
        deadline = node.timers.pop((timer, key), [None])[0]
        if deadline is None:
            self._diverge(node, f"its timer {timer!r} ran out, and was not set")
        elif deadline > self.now:
            self._diverge(node, f"its timer {timer!r} ran out {deadline - self.now:.6f} s early")
        self._fire(node, timer, key)

    def _react(self, node: Node, to: object, act: Callable[..., Any], *arguments: Any) -> None:
        assert self._entry is not None
        effects: list[Effect] = list(act(*arguments) or ())
        if digest(effects) != self._entry.effects:
            self._diverge(node, f"handling {to}, the model yields other effects: {effects}")
        happened = self._that_happened(node, effects)
        super()._react(node, to, lambda: happened)

    def _that_happened(self, node: Node, effects: list[Effect]) -> list[Effect]:
        """Of the last handler of a life: those before the first write that its disk does not
        show. Of what stands behind its last write, nobody knows: it may have happened."""
        if self._next_life is None:
            return effects
        codec = self._codec[node.i]
        found = codec.decode(self._next_life.stored)
        writes = [k for k, effect in enumerate(effects) if isinstance(effect, Persist)]
        for end in (len(effects), *reversed(writes)):
            trial = type(node.storage)(node.storage.recover())
            for effect in effects[:end]:
                if isinstance(effect, Persist):
                    trial.persist(effect.values)
            if codec.decode(codec.encode(trial.stored)) == found:
                return effects[:end]
        return effects  # `_begin` says what is wrong

    # -- effects

    def _carry(self, node: Node, to: int, message: Message) -> None:
        self._flying.setdefault((node.i, to), Counter())[encode(message)] += 1

    def _set_timer(self, node: Node, effect: SetTimer) -> None:
        least = effect.after / 2 if effect.periodic else effect.after
        node.timers[effect.timer, effect.key] = [self.now + least, None]

    def _diverge(self, node: Node, what: str) -> None:
        where = f"rank {node.i}, life {node.life}, at {self.now:.6f} s"
        raise Divergence(f"{where}: {what}. The real run and the model part here")


def replay(
    protocol: Factory,
    files: Iterable[Path],
    invariants: tuple[type[Invariant], ...] = (),
    clients: Mapping[int, Factory] | None = None,
) -> Replay:
    """Plays the files of one group of nodes, which ran on one host. Raises Divergence where the
    model would have done something else, and Violation like any simulation."""
    lives = sorted((list(handled.read(file)) for file in files), key=_birth)
    begun = [entries[0] for entries in lives if entries]
    n = max((len(b.members) for b in begun if isinstance(b, Begun)), default=0)
    model = Replay(protocol, n, invariants, clients)
    steps = itertools.chain.from_iterable(_of_one_node(lives, i) for i in sorted(model.nodes))
    for i, entry, next_life in sorted(steps, key=lambda step: step[1].now):
        model.step(i, entry, next_life)
    model.finish()
    return model


Step = tuple[int, Begun | Handled, Begun | None]


def _of_one_node(lives: list[list[Begun | Handled]], i: int) -> Iterator[Step]:
    own = (life for life in lives if life and isinstance(life[0], Begun) and life[0].node == i)
    mine = [entry for life in own for entry in life]
    for entry, behind in itertools.zip_longest(mine, mine[1:]):
        assert entry is not None
        yield i, entry, behind if isinstance(behind, Begun) else None


def _birth(entries: list[Begun | Handled]) -> float:
    return entries[0].now if entries else 0.0
