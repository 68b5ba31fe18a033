"""What the exercises on a ring share: links with dyed chunks, and the picture of their steps.

What is compared says whose parts ended where, and what it took to bring them there. A dye is one
that a rank cannot know of the others: who writes the sum down without having received it does not
get it right.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labkit.checks import Case
from labkit.collectives.link import Link, Message
from labkit.collectives.trace import Trace, trace, written
from labkit.views.chunks import Table, draw_tables
from labkit.views.ring_pictures import tables_of

Function = Callable[[Link, list[Tensor]], Any]
MOST = 6
"""Ranks."""


class Outcome(dict[str, str]):
    """What is compared, and the trace that it was read from, for the picture."""

    seen: Trace


@dataclass(frozen=True)
class Ranks:
    """What a case is drawn from; its text stands in the check's sentence."""

    ranks: int
    elements: int
    dye: int

    def __repr__(self) -> str:
        return f"{self.ranks} ranks, {self.elements} elements"


def draw_even(r: random.Random) -> tuple[Ranks]:
    ranks = r.randrange(3, MOST + 1)
    return (Ranks(ranks, ranks * r.randrange(1, 4), r.getrandbits(32)),)


def draw_uneven(r: random.Random) -> tuple[Ranks]:
    """No multiple of the ranks, and now and then a rank without an element."""
    ranks = r.randrange(3, 5)
    return (Ranks(ranks, ranks * r.randrange(3) + r.randrange(1, ranks), r.getrandbits(32)),)


class DyedLink(Link):
    """Between an answer, which sees the colours of `dye`, and a link that counts.

    An element of a traced chunk is a table of counters, rank by chunk; the answer sees each of them
    times a number of its own. Adding and copying do not mind. All are exact in float32.
    """

    def __init__(self, link: Link, plain: list[Tensor], dye: Tensor) -> None:
        super().__init__(link.rank, link.size)
        self.link, self.plain, self.dye = link, plain, dye
        self.chunks = [self.coloured(chunk) for chunk in plain]

    def coloured(self, chunk: Tensor) -> Tensor:
        return (chunk.view(-1, *self.dye.shape) * self.dye).view(-1)

    def bleached(self, chunk: Tensor) -> Tensor:
        return (chunk.view(-1, *self.dye.shape) / self.dye).view(-1)

    def tell(self) -> None:
        """The counting link's chunks become what the answer has."""
        for plain, chunk in zip(self.plain, self.chunks, strict=True):
            plain.copy_(self.bleached(chunk))

    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> Bleaching:
        self.tell()
        came = [torch.empty_like(tensor) for tensor, _ in receives]
        pending = self.link.transfer(
            sends=[(self.bleached(tensor), to) for tensor, to in sends],
            receives=[(room, source) for room, (_, source) in zip(came, receives, strict=True)],
        )
        return Bleaching(self, pending, [tensor for tensor, _ in receives], came)


class Bleaching:
    def __init__(
        self, link: DyedLink, pending: Any, into: list[Tensor], came: list[Tensor]
    ) -> None:
        self.link, self.pending, self.into, self.came = link, pending, into, came

    def wait(self) -> None:
        self.pending.wait()
        for tensor, message in zip(self.into, self.came, strict=True):
            tensor.copy_(self.link.coloured(message))


def observed(function: Function, drawn: Ranks, gathered: bool = False) -> Trace:
    """The answer's trace. `gathered`: chunk r is complete at rank r before it runs, as after a
    reduce-scatter; the others hold what they hold."""
    numbers = random.Random(drawn.dye)
    table = [[numbers.randrange(2, 1000) for _ in range(drawn.ranks)] for _ in range(drawn.ranks)]
    dye = torch.tensor(table, dtype=torch.float32)

    def run(link: Link, chunks: list[Tensor]) -> None:
        if gathered:
            chunks[link.rank].view(-1, link.size, link.size)[:, :, link.rank] = 1
        dyed = DyedLink(link, chunks, dye)
        function(dyed, dyed.chunks)
        dyed.tell()

    return trace(run, drawn.ranks, drawn.elements)


def counted(found: Outcome) -> Outcome:
    """The same, and what each rank sent to whom: garbage of the right size is no message."""
    for rank in range(len(found.seen.states[0])):
        sent = [m for m in found.seen.messages if m.source == rank]
        to = " and ".join(f"rank {t}" for t in sorted({m.target for m in sent})) or "nobody"
        elements = sum(m.elements for m in sent)
        found[f"rank {rank} sends"] = f"{len(sent)} messages, {elements} elements, to {to}"
    return found


def held_by(seen: Trace, places: Sequence[tuple[int, int]]) -> Outcome:
    """Whose parts are in the end in these (rank, chunk), of those that have an element."""
    found = Outcome()
    found.seen = seen
    for rank, chunk in places:
        if seen.lengths[chunk]:
            found[f"rank {rank}, chunk {chunk}"] = written(seen.states[-1][rank][chunk])
    return found


def steps_beside(cases: Sequence[Case]) -> Any:
    """The first wrong case step by step, expected above and yours below; else one that is right.
    What is expected has no steps in a student's copy."""
    wrong = [c for c in cases if c.expected != c.got]
    shown = [c for c in (wrong or cases) if c.arguments[0].ranks <= 5] or list(wrong or cases)
    if not shown:
        return None
    case = shown[0]
    yours = tables_of(case.got.seen, "yours, step")
    yours[0] = Table("yours, at first", yours[0].state, [])
    if not wrong or not hasattr(case.expected, "seen"):
        return draw_tables([yours], case.arguments[0].ranks)
    expected = tables_of(case.expected.seen, "expected, step")
    expected[0] = Table("expected, at first", expected[0].state, [])
    return draw_tables([expected, yours], case.arguments[0].ranks)


def no_picture(cases: Sequence[Case]) -> None:
    return None
