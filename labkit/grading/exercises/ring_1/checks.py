"""ring.1: the first half of a ring all-reduce.

Two of the properties run over a link through the grader, with dyed chunks: what is compared says
whose parts ended where, and what it took to bring them there. A dye is one that a rank cannot know
of the others: who writes the sum down without having received it does not get it right.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labkit.checks import Case
from labkit.checks.ring import Outcome, steps_beside
from labkit.collectives.link import Link, Message
from labkit.collectives.trace import Trace, trace, written
from labkit.grading.exercise import Property
from labkit.grading.ports import on_ranks

Function = Callable[[Link, list[Tensor]], Any]
MOST = 6
"""Ranks."""


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


def observed(function: Function, drawn: Ranks) -> Trace:
    numbers = random.Random(drawn.dye)
    table = [[numbers.randrange(2, 1000) for _ in range(drawn.ranks)] for _ in range(drawn.ranks)]
    dye = torch.tensor(table, dtype=torch.float32)

    def run(link: Link, chunks: list[Tensor]) -> None:
        dyed = DyedLink(link, chunks, dye)
        function(dyed, dyed.chunks)
        dyed.tell()

    return trace(run, drawn.ranks, drawn.elements)


def sums(function: Function, drawn: Ranks) -> Outcome:
    """Whose parts are in chunk r at rank r."""
    found = Outcome()
    found.seen = observed(function, drawn)
    for rank in range(drawn.ranks):
        held = found.seen.states[-1][rank][rank]
        found[f"rank {rank}, chunk {rank}"] = written(held)
    return found


def messages(function: Function, drawn: Ranks) -> Outcome:
    """The sums, and what each rank sent to whom: garbage of the right size is no message."""
    found = sums(function, drawn)
    for rank in range(drawn.ranks):
        sent = [m for m in found.seen.messages if m.source == rank]
        to = " and ".join(f"rank {t}" for t in sorted({m.target for m in sent})) or "nobody"
        elements = sum(m.elements for m in sent)
        found[f"rank {rank} sends"] = f"{len(sent)} messages, {elements} elements, to {to}"
    return found


def over_sockets(function: Function, drawn: Ranks) -> list[list[float]]:
    """Chunk r at rank r, of tensors of whole numbers."""
    numbers = random.Random(drawn.dye)

    def chunks() -> list[Tensor]:
        values = [float(numbers.randrange(1000)) for _ in range(drawn.elements)]
        return [part.clone() for part in torch.tensor(values).tensor_split(drawn.ranks)]

    everyone = [chunks() for _ in range(drawn.ranks)]
    on_ranks(function, [(mine,) for mine in everyone])
    return [mine[rank].tolist() for rank, mine in enumerate(everyone)]


def no_picture(cases: Sequence[Case]) -> None:
    return None


PROPERTIES = [
    Property(
        "rank r ends with the sum of chunk r",
        draw_even,
        sums,
        cases=4,
        ranks=MOST,
        picture=steps_beside,
    ),
    Property(
        "n − 1 messages of one chunk each, all to the right",
        draw_even,
        messages,
        cases=4,
        ranks=MOST,
        picture=steps_beside,
    ),
    Property(
        "chunks of unequal length, over real sockets",
        draw_uneven,
        over_sockets,
        cases=2,
        ranks=4,
        network=True,
        picture=no_picture,
    ),
]
