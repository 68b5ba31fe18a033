"""Pictures of chunks drawn from what an algorithm really did: see `labkit.collectives.trace`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from labkit import collectives
from labkit.collectives import trace as traces
from labkit.collectives.link import Link
from labkit.collectives.trace import Algorithm, Content, Trace, trace
from labkit.views import style
from labkit.views.chunks import COMPLETE, Cell, Move, State, Table, draw_tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def steps_of(algorithm: Algorithm, ranks: int = 4) -> Figure:
    """What `algorithm(link, chunks)` does to the chunks of every rank, step by step.

    It is run, on up to 8 ranks that are threads. Each rank's own chunks hold nothing but its own
    part at first; what lands in a slot that is not its own is crossed out.
    """
    return draw_tables(rows_of(tables_of(trace(algorithm, ranks)), ranks), ranks)


def rows_of(tables: list[Table], ranks: int) -> list[list[Table]]:
    """A row for the beginning and the n-1 steps of the first half, one for the second half."""
    return [row for row in (tables[:ranks], tables[ranks:]) if row]


def tables_of(seen: Trace, name: str = "step") -> list[Table]:
    states = [[[cell(held) for held in row] for row in state] for state in seen.states]
    tables = [Table("at first", states[0], [])]
    for k in range(seen.rounds):
        sent = [m for m in seen.messages if m.round == k]
        moves = [m for one in sent if (m := move(one, states[k], states[k + 1])) is not None]
        tables.append(Table(f"{name} {k + 1}", states[k + 1], moves))
    return tables


def cell(held: Content | None) -> Cell:
    return frozenset(held or ())


def move(sent: traces.Sent, before: State, after: State) -> Move | None:
    """Where a message went: into its own slot if that changed, else into the one that did."""
    if sent.slot is None:
        return None
    old, new = before[sent.target], after[sent.target]
    changed = [slot for slot in range(len(old)) if old[slot] != new[slot]]
    into = sent.slot if sent.slot in changed or not changed else changed[0]
    return Move(sent.source, sent.target, sent.slot, old[into] <= new[into], into)


# ---- the collectives ---------------------------------------------------------------------------

EMPTY = "#E9E9E9"


@dataclass(frozen=True)
class Scene:
    """A collective: who begins with what, and what the real one makes of it."""

    name: str
    says: str
    first: Callable[[int, int], bool]
    """Whether rank r begins with something in slot c."""
    run: Callable[[Link, list[Tensor]], Sequence[Tensor | None]]
    """On one rank, with its dyed chunks: what is in its slots afterwards."""


def whole(link: Link, chunks: list[Tensor]) -> Tensor:
    import torch

    return torch.cat(chunks)


def parts(link: Link, tensor: Tensor) -> Sequence[Tensor]:
    return tensor.tensor_split(link.size)


def alone(link: Link, tensor: Tensor) -> list[Tensor | None]:
    return [tensor if slot == link.rank else None for slot in range(link.size)]


def nothing(link: Link) -> list[Tensor | None]:
    return [None] * link.size


SCENES = [
    Scene(
        "broadcast", "one rank's tensor to all", lambda r, c: r == 0,
        lambda link, chunks: parts(link, collectives.broadcast(link, whole(link, chunks))),
    ),
    Scene(
        "scatter", "a piece to each", lambda r, c: r == 0,
        lambda link, chunks: alone(
            link, collectives.scatter(link, chunks[0].clone(), chunks if link.rank == 0 else None)
        ),
    ),
    Scene(
        "gather", "a piece from each, at one rank", lambda r, c: r == c,
        lambda link, chunks: collectives.gather(link, chunks[link.rank]) or nothing(link),
    ),
    Scene(
        "all-gather", "a piece from each, everywhere", lambda r, c: r == c,
        lambda link, chunks: collectives.all_gather(link, chunks[link.rank]),
    ),
    Scene(
        "reduce", "the sum, at one rank", lambda r, c: True,
        lambda link, chunks: reduced(link, whole(link, chunks)),
    ),
    Scene(
        "reduce-scatter", "a piece of the sum to each", lambda r, c: True,
        lambda link, chunks: alone(link, collectives.reduce_scatter(link, whole(link, chunks))),
    ),
    Scene(
        "all-reduce", "the sum, everywhere", lambda r, c: True,
        lambda link, chunks: parts(link, collectives.all_reduce(link, whole(link, chunks))),
    ),
]  # fmt: skip


def reduced(link: Link, tensor: Tensor) -> Sequence[Tensor | None]:
    result = collectives.reduce(link, tensor)
    return parts(link, result) if link.rank == 0 else nothing(link)


def collectives_in_pictures(ranks: int = 4) -> Figure:
    """Seven collectives, each before and after: run on 2 to 8 ranks, with dyed chunks."""
    across, down, side, left, top = 2.72, 1.82, 1.0, 0.62, 0.6
    width, height = left + 4 * across - 0.4, 2 * down
    figure = style.figure(width, height)
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, width), ylim=(height, 0))
    page.set_axis_off()
    words: dict[str, Any] = {"family": style.FONT, "color": style.INK, "va": "center"}
    squares: list[tuple[float, float, float, str]] = []
    for i, scene in enumerate(SCENES):
        x, y = left + across * (i % 4), top + down * (i // 4)
        before, after = played(scene, ranks)
        page.text(x, y - 0.42, scene.name, size=style.LABEL, weight="bold", **words)
        page.text(x, y - 0.18, scene.says, size=style.SMALL, **words)
        squares += squares_of(before, x, y, side / ranks)
        squares += squares_of(after, x + side + 0.3, y, side / ranks)
        arrow = {"arrowstyle": "-|>", "color": style.INK, "lw": 1.4, "mutation_scale": 11}
        ends = (x + side + 0.02, y + side / 2), (x + side + 0.28, y + side / 2)
        page.annotate("", ends[1], ends[0], arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0})
        for r in range(ranks if i % 4 == 0 else 0):
            size = min(style.SMALL, 62 * side / ranks)
            page.text(x - 0.08, y + (r + 0.5) * side / ranks, f"rank {r}", size=size, ha="right",
                      **words)  # fmt: skip
    legend(page, squares, left + 3 * across, top + down)
    draw_squares(page, squares)
    return figure


def played(scene: Scene, ranks: int) -> tuple[State, State]:
    results: list[Sequence[Tensor | None]] = [[] for _ in range(ranks)]

    def run(link: Link, chunks: list[Tensor]) -> None:
        results[link.rank] = scene.run(link, chunks)

    own = trace(run, ranks).states[0]
    before = [
        [cell(own[r][c]) if scene.first(r, c) else frozenset() for c in range(ranks)]
        for r in range(ranks)
    ]
    after = [
        [frozenset() if t is None else cell(traces.content(t, ranks)) for t in row]
        for row in results
    ]
    return before, after


def squares_of(
    state: State, x: float, y: float, size: float
) -> list[tuple[float, float, float, str]]:
    """A square per rank and slot: (x, y, side, colour). No piece is a partial sum here."""
    return [
        (x + slot * size, y + rank * size, size, colour_of(held, len(state)))
        for rank, row in enumerate(state)
        for slot, held in enumerate(row)
    ]


def colour_of(held: Cell, ranks: int) -> str:
    givers = {rank for rank, _ in held}
    if not givers:
        return EMPTY
    return COMPLETE if len(givers) == ranks else style.rank_colour(min(givers))


def draw_squares(page: Any, squares: Sequence[tuple[float, float, float, str]]) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    patches = [Rectangle((x, y), 0.88 * size, 0.88 * size) for x, y, size, _ in squares]
    colours = [colour for *_, colour in squares]
    page.add_collection(PatchCollection(patches, facecolors=colours, linewidths=0))


def legend(page: Any, squares: list[tuple[float, float, float, str]], x: float, y: float) -> None:
    words: dict[str, Any] = {"family": style.FONT, "color": style.INK, "va": "center"}
    words["size"] = style.SMALL
    page.text(x, y - 0.18, "a square is one piece of a tensor", **words)
    meanings = {
        style.rank_colour(0): "from rank 0",
        style.rank_colour(1): "from rank 1, and so on",
        COMPLETE: "the sum of all ranks",
        EMPTY: "nothing",
    }
    for i, (colour, text) in enumerate(meanings.items()):
        squares.append((x, y + 0.02 + 0.25 * i, 0.18, colour))
        page.text(x + 0.26, y + 0.1 + 0.25 * i, text, **words)
