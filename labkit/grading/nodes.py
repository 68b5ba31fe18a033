"""Protocols that a student has written, as nodes of the grader's simulator.

In a notebook the simulator runs the learner's class itself. In a jail each life of a node has a
process of its own: nothing passes from node to node, or from one life to the next, but messages and
what is durable, and both are in the grader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from labkit.grading.calls import StudentError, decoded, raise_if
from labkit.grading.inside.channel import Channel, Ended, Garbled, Late
from labkit.grading.inside.records import EFFECTS
from labkit.grading.inside.values import pack
from labkit.grading.jail import Cell, Jailed, JailError, Zygote
from labkit.protocols.effects import Broadcast, Context, Effect, Protocol, SetTimer
from labkit.simulator.invariants import Violation
from labkit.simulator.node import Factory

MOST_EFFECTS = 500
"""Of one handler, each message of a broadcast counted."""


class JailedNode(Protocol):
    """One life of a node, whose handlers run in the process at the other end of `channel`."""

    def __init__(
        self, channel: Channel, me: int, members: tuple[int, ...], context: Context, stored: Any
    ) -> None:
        super().__init__(me, members, context, stored)
        self._channel, self._leads = channel, False
        about = [me, members, context.random.getstate(), context.now, stored]
        channel.send("begin", pack(about))
        raise_if(channel.receive(), "loaded")

    @property
    def leads(self) -> bool:
        return self._leads

    def on_start(self) -> Any:
        return iter(self._handle("on_start"))

    def __getattr__(self, name: str) -> Callable[..., list[Effect]]:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return partial(self._handle, name)

    def _handle(self, handler: str, *arguments: Any) -> list[Effect]:
        self._channel.send("handle", pack([handler, list(arguments), self.context.now]))
        _, tree, _ = raise_if(self._channel.receive(), "value")
        said = decoded(tree)
        if type(said) is not tuple or len(said) != 2 or type(said[0]) is not list:
            raise Garbled("what came from the jail are not the effects of a handler")
        effects, self._leads = said[0], said[1] is True
        demand(effects)
        return effects


def demand(effects: list[Any]) -> None:
    """Raises StudentError for what no simulator could perform."""
    count = 0
    for effect in effects:
        if type(effect) not in EFFECTS:
            raise StudentError("TypeError", f"{str(effect)[:80]} is not an effect")
        if isinstance(effect, SetTimer) and effect.after < 0:
            raise StudentError("ValueError", f"{effect} is in the past")
        count += len(effect.to) if isinstance(effect, Broadcast) else 1
    if count > MOST_EFFECTS:
        raise StudentError("ValueError", f"a handler with {count} effects; {MOST_EFFECTS} may be")


def lives_of(protocol: Callable[..., Any]) -> Factory:
    """What a simulation makes nodes with. In a jail there may be as many lives as the property
    has `ranks`, in all its simulations: no process is used twice."""
    free = getattr(protocol, "unused", None)
    if free is None:
        return protocol

    def make(me: int, members: tuple[int, ...], context: Context, stored: Any) -> Protocol:
        channel = next(free, None)
        if channel is None:
            raise JailError("there are more lives than the property has ranks")
        return JailedNode(channel, me, members, context, stored)

    return make


@contextmanager
def blamed_on(protocol: Callable[..., Any]) -> Iterator[None]:
    """What the simulator cannot do with the effects that came from a jail is the answer's error:
    with the reference's it has gone through the same before."""
    try:
        yield
    except (Violation, StudentError, Ended, Late, Garbled, JailError):
        raise
    except Exception as error:
        if not hasattr(protocol, "unused"):
            raise
        raise StudentError(type(error).__name__, str(error)) from error


class Afresh:
    """A student's answer once more, in as many jails as it takes, one at a time. Each life of a
    node has a process of its own; the life before it, in this or another run, is over by then."""

    def __init__(self, mother: Zygote, cell: Cell, seconds: float, ranks: int) -> None:
        self.new = partial(mother.jail, cell, seconds, ranks)
        self.jailed: Jailed | None = None
        self.unused = self._lives()

    def _start(self) -> Jailed:
        self.close()
        self.jailed = self.new()
        return self.jailed

    def _lives(self) -> Iterator[Channel]:
        while True:
            yield from self._start().channels

    def __call__(self, *arguments: Any) -> Any:
        return (self.jailed or self._start())(*arguments)

    def close(self) -> None:
        if self.jailed is not None:
            self.jailed.close()
            self.jailed = None

    def __enter__(self) -> Afresh:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
