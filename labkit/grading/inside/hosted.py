"""One life of a node whose protocol class stands in the student's cell.

The grader's simulator has the clock, the network and the disks. What is here handles a message or a
timer at a time, and says which effects that has. It is made anew, from the cell's text, for every
life: what outlives a crash is what the grader gives it as durable.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Context

RandomState = tuple[int, tuple[int, ...], None]


class Hosted:
    """`protocol(me, members, context, stored)` makes the node. Its random numbers go on from
    `state`, which the grader has drawn."""

    def __init__(
        self, protocol: Any, me: int, members: tuple, state: RandomState, now: float, stored: dict
    ) -> None:
        self.context = Context(now)
        self.context.random.setstate(state)
        self.node = protocol(me, members, self.context, stored)

    def handle(self, handler: str, arguments: list, now: float) -> tuple[list, bool]:
        """The effects of a handler, drained, and whether the node believes that it leads."""
        self.context.now = now
        effects = getattr(self.node, handler)(*arguments)
        return [] if effects is None else list(effects), bool(self.node.leads)
