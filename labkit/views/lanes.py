"""The lanes: what each rank is doing, as coloured slices.

Slices that are too narrow to be seen are merged: where they follow one another the lane shows, for
every few pixels, the share of the time that each activity took, as a stack. Nothing is dropped
silently, and an all-reduce that takes a fifth of every step still covers a fifth of the lane.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from labkit.views.history import Slice
from labkit.views.sheet import Sheet
from labkit.views.style import INK, PAPER, Look

NARROW = 2
"""Pixels; what is narrower is merged with its neighbours."""
BIN = 5
"""Pixels of a bin of merged slices."""
BESIDE = 0.42
"""Share of the lane's thickness for what another thread does while the main thread is busy."""

Corner = tuple[float, float]


def draw_lanes(sheet: Sheet, shown: dict[str, Look]) -> int:
    """Draws the lanes; returns how many slices were merged."""
    shapes: dict[str, list[list[Corner]]] = defaultdict(list)
    fine: dict[str, list[list[Corner]]] = defaultdict(list)
    strip: dict[str, list[list[Corner]]] = defaultdict(list)
    order = {name: i for i, name in enumerate(shown)}
    merged = 0
    for rank in sheet.past.ranks:
        draw_background(sheet, rank)
        here = [s for s in sheet.past.slices[rank] if s.end > sheet.begin and s.begin < sheet.end]
        for s in (s for s in here if s.beside):
            strip[s.activity].append(corners(sheet, s, 0.0, BESIDE))
        wide, crowds = sort_out([s for s in here if not s.beside], sheet.pixel)
        for s in wide:
            where = shapes if s.end - s.begin > 4 * sheet.pixel else fine
            where[s.activity].append(corners(sheet, s))
        for crowd in crowds:
            merged += len(crowd)
            for name, shape in stacks(sheet, crowd, order):
                fine[name].append(shape)
    for name, look in shown.items():
        draw_shapes(sheet, name, look, shapes[name], 0.6)
        draw_shapes(sheet, name, look, fine[name], 0.0)
        draw_shapes(sheet, name, look, strip[name], 0.6, over=0.5)
    draw_again(sheet)
    draw_pauses(sheet)
    return merged


def sort_out(slices: list[Slice], pixel: float) -> tuple[list[Slice], list[list[Slice]]]:
    """The slices to draw as they are, and the crowds of narrow neighbours to merge."""
    wide, crowds, crowd = [], [], list[Slice]()
    for s in sorted(slices, key=lambda s: s.begin):
        if s.end - s.begin >= NARROW * pixel:
            wide.append(s)
        elif crowd and s.begin - crowd[-1].end < NARROW * pixel:
            crowd.append(s)
        else:
            crowds.append(crowd)
            crowd = [s]
    crowds.append(crowd)
    large = [c for c in crowds if c and c[-1].end - c[0].begin >= 2 * BIN * pixel]
    alone = [s for c in crowds if c and c[-1].end - c[0].begin < 2 * BIN * pixel for s in c]
    return wide + alone, large


def corners(sheet: Sheet, s: Slice, low: float = 0.0, high: float = 1.0) -> list[Corner]:
    """A rectangle from the share `low` to `high` of the lane's thickness, counted from below."""
    base = sheet.y(s.rank) + sheet.thickness / 2
    top, bottom = base - high * sheet.thickness, base - low * sheet.thickness
    a, b = max(s.begin, sheet.begin), min(s.end, sheet.end)
    return [(a, top), (b, top), (b, bottom), (a, bottom)]


def stacks(
    sheet: Sheet, crowd: list[Slice], order: dict[str, int]
) -> list[tuple[str, list[Corner]]]:
    """The merged slices as stacked shares of time, a bin next to the other."""
    begin, end = crowd[0].begin, crowd[-1].end
    count = max(1, round((end - begin) / (BIN * sheet.pixel)))
    width = (end - begin) / count
    bins: list[dict[str, float]] = [defaultdict(float) for _ in range(count)]
    for s in crowd:
        first = int((s.begin - begin) / width)
        last = min(count - 1, int((s.end - begin) / width))
        for i in range(first, last + 1):
            low, high = begin + i * width, begin + (i + 1) * width
            bins[i][s.activity] += max(0.0, min(s.end, high) - max(s.begin, low))
    found = []
    for i, shares in enumerate(bins):
        whole, low = sum(shares.values()), 0.0
        for name in sorted(shares, key=order.__getitem__):
            high = low + shares[name] / whole
            column = Slice(crowd[0].rank, name, begin + i * width, begin + (i + 1) * width)
            found.append((name, corners(sheet, column, low, high)))
            low = high
    return found


def draw_shapes(
    sheet: Sheet,
    name: str,
    look: Look,
    shapes: list[list[Corner]],
    edge: float,
    over: float = 0.0,
) -> None:
    from matplotlib.collections import PolyCollection

    if not shapes:
        return
    drawn: Any = PolyCollection(
        shapes,
        facecolor=look.colour,
        edgecolor=look.hatch_colour if look.hatch else PAPER if edge else "none",
        linewidth=0 if look.hatch else edge,
        hatch=look.hatch or None,
        antialiased=bool(edge) or bool(look.hatch),
        zorder=2 + over,
    )
    drawn.set_gid(f"activity:{name}")
    drawn.set_label(look.label)
    sheet.lanes.add_collection(drawn, autolim=False)


def draw_background(sheet: Sheet, rank: int) -> None:
    """A pale strip while the rank has a process: white means that there is nobody."""
    for life, (born, died) in enumerate(sheet.past.lives[rank]):
        strip = corners(sheet, Slice(rank, "", born, died))
        if strip[1][0] > strip[0][0]:
            patch = sheet.lanes.fill(*zip(*strip, strict=True), color="#F1F1F1", zorder=0, lw=0)[0]
            patch.set_gid(f"life:{rank}.{life}")


def draw_again(sheet: Sheet) -> None:
    """Hatches what was done again, in one piece where it is one."""
    from matplotlib.collections import PolyCollection

    pieces: list[Slice] = []
    redone = [s for some in sheet.past.slices.values() for s in some if s.again]
    for s in redone:
        before = pieces[-1] if pieces else None
        if before and before.rank == s.rank and s.begin - before.end < NARROW * sheet.pixel:
            pieces[-1] = Slice(s.rank, "", before.begin, s.end)
        elif s.begin < sheet.end and s.end > sheet.begin:
            pieces.append(s)
    shapes = [corners(sheet, s) for s in pieces]
    if shapes:
        drawn = PolyCollection(
            shapes, facecolor="none", edgecolor=INK, hatch="////", linewidth=0, alpha=0.55, zorder=3
        )
        drawn.set_gid("again")
        sheet.lanes.add_collection(drawn, autolim=False)


def draw_pauses(sheet: Sheet) -> None:
    """A paused rank does nothing: an empty lane with a dashed outline."""
    from matplotlib.collections import PolyCollection

    shapes = [
        corners(sheet, Slice(rank, "", begin, end))
        for rank, pauses in sheet.past.pauses.items()
        for begin, end in pauses
        if end > sheet.begin and begin < sheet.end
    ]
    if shapes:
        drawn = PolyCollection(
            shapes, facecolor=PAPER, edgecolor="#666666", linestyle="--", linewidth=1.1, zorder=4
        )
        drawn.set_gid("paused")
        sheet.lanes.add_collection(drawn, autolim=False)
