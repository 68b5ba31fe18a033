"""The chunks of a ring all-reduce as they travel: a small table of ranks and slots per step.

A cell is one slot of one rank's buffer, in as many stripes as there are ranks: stripe k is coloured
when rank k's contribution is in it; a complete chunk is dark. What lies in a slot that is not its
own is crossed out, so a wrong schedule is seen at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.collections import PolyCollection
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke

from labkit.views import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = frozenset[tuple[int, int]]
"""What a slot holds: (rank that contributed, chunk that it is)."""
State = list[list[Cell]]
"""By rank and slot."""


@dataclass(frozen=True)
class Move:
    """`source` sends its slot `chunk` to `target`, which adds it to (or puts it in) slot `into`."""

    source: int
    target: int
    chunk: int
    add: bool
    into: int | None = None

    @property
    def slot(self) -> int:
        return self.chunk if self.into is None else self.into


def beginning(n: int) -> State:
    """Every rank has its own contribution to every chunk, and nothing else."""
    return [[frozenset({(rank, chunk)}) for chunk in range(n)] for rank in range(n)]


def ring_reduce_scatter(n: int) -> list[list[Move]]:
    """The moves of each of the n-1 steps; afterwards rank r has all of chunk r."""
    return [
        [Move(r, (r + 1) % n, (r - step - 1) % n, add=True) for r in range(n)]
        for step in range(n - 1)
    ]


def ring_all_gather(n: int) -> list[list[Move]]:
    """The moves of the n-1 steps that pass chunk r of rank r on to all."""
    return [
        [Move(r, (r + 1) % n, (r - step) % n, add=False) for r in range(n)] for step in range(n - 1)
    ]


def play(state: State, steps: Sequence[Sequence[Move]]) -> list[State]:
    """The states before the first step and after each; all moves of a step happen at once."""
    states = [state]
    for moves in steps:
        old, new = states[-1], [list(row) for row in states[-1]]
        for m in moves:
            sent = old[m.source][m.chunk]
            new[m.target][m.slot] = (new[m.target][m.slot] | sent) if m.add else sent
        states.append(new)
    return states


def complete(held: Cell, n: int) -> bool:
    """All n contributions to one and the same chunk."""
    return len(held) == n and len({chunk for _, chunk in held}) == 1


# ---- drawing -----------------------------------------------------------------------------------

COMPLETE = "#3B3B3B"


def ring_chunks(n: int = 4) -> Figure:
    """Reduce-scatter and all-gather among n ranks (2 to 8), step by step."""
    if not 2 <= n <= 8:
        raise ValueError(f"ring_chunks draws 2 to 8 ranks, not {n}")
    first = play(beginning(n), ring_reduce_scatter(n))
    second = play(first[-1], ring_all_gather(n))
    above = _tables("reduce-scatter", first, ring_reduce_scatter(n))
    below = _tables("all-gather", second, ring_all_gather(n))[1:]
    return draw_tables([above, below], n)


def schedule_chunks(n: int, steps: Sequence[Sequence[Move]], name: str = "step") -> Figure:
    """Any schedule, right or wrong, from the beginning on."""
    return draw_tables([_tables(name, play(beginning(n), steps), steps)], n)


@dataclass(frozen=True)
class Table:
    title: str
    state: State
    moves: Sequence[Move]


def _tables(name: str, states: list[State], steps: Sequence[Sequence[Move]]) -> list[Table]:
    after = zip(states[1:], steps, strict=True)
    start = [Table("at first", states[0], [])]
    return start + [Table(f"{name} {i}", s, moves) for i, (s, moves) in enumerate(after, 1)]


def draw_tables(phases: list[list[Table]], n: int) -> Figure:
    """Each phase begins a row of tables; below them what the stripes mean."""
    per_row = 4 if n > 5 else min(5, max(map(len, phases)))
    rows = [p[i : i + per_row] for p in phases for i in range(0, len(p), per_row)]
    left, gap, top, foot = 0.62, 0.3, 0.46, 0.4
    cell = min(0.44, (11.0 - left - gap * per_row) / per_row / n)
    across, down = max(n * cell, _TITLE) + gap, top + n * cell + 0.3
    width = max(left + per_row * across, _LEGEND + left + 0.72 * n)
    figure = style.figure(width, len(rows) * down + foot)
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, width), ylim=(len(rows) * down + foot, 0))
    page.set_axis_off()
    boxes: dict[str, list[Box]] = defaultdict(list)
    for i, row in enumerate(rows):
        for j, table in enumerate(row):
            place = Place(left + j * across, i * down + top, cell, n)
            _draw_table(page, table, place, boxes, names=j == 0)
    for colour, some in boxes.items():
        page.add_collection(_rectangles(some, colour), autolim=False)
    _legend(page, n, left, len(rows) * down + 0.15)
    return figure


Box = tuple[float, float, float, float]
"""Left, top, width, height."""


@dataclass(frozen=True)
class Place:
    """A table of n by n cells with its upper left corner at x, y (inches)."""

    x: float
    y: float
    cell: float
    n: int

    def corner(self, rank: int, slot: int) -> tuple[float, float]:
        return self.x + slot * self.cell, self.y + rank * self.cell


def _rectangles(boxes: list[Box], colour: str) -> PolyCollection:
    corners = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h in boxes]
    shapes = PolyCollection(corners, facecolor=colour, lw=0, antialiased=False)
    shapes.set(zorder=1 if colour == EMPTY else 2, gid=f"cells:{colour}")
    return shapes


def _draw_table(
    page: Any, table: Table, place: Place, boxes: dict[str, list[Box]], names: bool
) -> None:
    n, cell = place.n, place.cell
    words = {"va": "center", "family": style.FONT, "color": style.INK, "size": style.SMALL}
    title = {**words, "size": style.TEXT, "weight": "bold", "ha": "center"}
    page.text(place.x + n * cell / 2, place.y - 0.27, table.title, **title)
    for i in range(n):
        along = (i + 0.5) * cell
        grey = {**words, "color": style.GREY, "ha": "center"}
        page.text(place.x + along, place.y + n * cell + 0.1, i, **grey)
        if names:
            page.text(place.x - 0.08, place.y + along, f"rank {i}", ha="right", **words)
    for rank, row in enumerate(table.state):
        for slot, held in enumerate(row):
            x, y = place.corner(rank, slot)
            _fill_cell(boxes, held, x + INSET, y + INSET, cell - 2 * INSET, n)
            if any(chunk != slot for _, chunk in held):
                _cross_out(page, x, y, cell)
    frames = [(*place.corner(m.target, m.slot), cell, cell) for m in table.moves]
    for x, y, w, h in frames:
        box = Rectangle((x + 0.02, y + 0.02), w - 0.04, h - 0.04, facecolor="none", lw=1.6)
        box.set(edgecolor=style.INK, gid="arrived", zorder=4)
        page.add_patch(box)
    for m in table.moves:
        _draw_move(page, m, place, complete(table.state[m.target][m.slot], n))


INSET = 0.035
EMPTY = "#EFEFEF"


def _fill_cell(
    boxes: dict[str, list[Box]], held: Cell, x: float, y: float, side: float, n: int
) -> None:
    """A stripe for each rank whose contribution is there."""
    if complete(held, n):
        boxes[COMPLETE].append((x, y, side, side))
        return
    boxes[EMPTY].append((x, y, side, side))
    for rank in {rank for rank, _ in held}:
        boxes[style.rank_colour(rank)].append((x + rank * side / n, y, side / n, side))


def _cross_out(page: Any, x: float, y: float, cell: float) -> None:
    a, b, low, high = x + 2 * INSET, x + cell - 2 * INSET, y + 2 * INSET, y + cell - 2 * INSET
    rim = [withStroke(linewidth=4.0, foreground=style.PAPER)]
    for ys in ([low, high], [high, low]):
        line = page.plot([a, b], ys, color=style.INK, lw=1.8, zorder=5, path_effects=rim)[0]
        line.set_gid("wrong slot")


def _draw_move(page: Any, m: Move, place: Place, dark: bool) -> None:
    """From the sender's cell down into the receiver's; round the end, from above the table."""
    half = place.cell / 2
    (x0, y0), (x1, y1) = place.corner(m.source, m.chunk), place.corner(m.target, m.slot)
    a, b = (x0 + half, y0 + 1.5 * half), (x1 + half, y1 + 0.4 * half)
    if m.source == place.n - 1 and m.target == 0:
        a = (b[0], place.y - 0.14)
    arrow = FancyArrowPatch(
        a, b, arrowstyle="-|>", color=style.INK, lw=1.2, shrinkA=0, shrinkB=0, mutation_scale=8
    )
    if dark:
        rim = [withStroke(linewidth=2.4, foreground=COMPLETE)]
        arrow.set(color=style.PAPER, path_effects=rim)
    arrow.set(zorder=6, gid="move")
    page.add_patch(arrow)


_LEGEND, _TITLE = 2.4, 1.4
"""Inches of the words of the legend beside its swatches, and of a table's title."""


def _legend(page: Any, n: int, x: float, y: float) -> None:
    text = {"va": "center_baseline", "size": style.SMALL, "family": style.FONT, "color": style.INK}
    page.text(x, y, "a cell holds the part of", **text)
    x += 1.62
    for rank in range(n):
        page.add_patch(Rectangle((x, y - 0.07), 0.1, 0.14, color=style.rank_colour(rank), lw=0))
        page.text(x + 0.16, y, f"rank {rank}", **text)
        x += 0.72
    page.add_patch(Rectangle((x, y - 0.07), 0.14, 0.14, color=COMPLETE, lw=0))
    page.text(x + 0.2, y, "of all", **text)
