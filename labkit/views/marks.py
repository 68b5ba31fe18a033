"""What lies over the lanes: faults, deaths, views, checkpoints, messages.

Each kind of mark has a function that draws it; the words beside the marks are placed by the
layout, which knows how many rows they need.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import Any

from labkit.views import style
from labkit.views.history import History, Mark, Message
from labkit.views.labels import width_of
from labkit.views.sheet import Sheet

MESSAGES = 200
"""Arrows in one picture; more would be a grey cloud."""
NAMES = 12
"""Names of messages written beside them."""
CROWD = 8
"""Pixels within which arrows count as crowded."""


def members_text(members: tuple[int, ...]) -> str:
    """`{0,1,3}`, and `{0–5,7}` where three or more follow one another."""
    runs: list[list[int]] = []
    for m in sorted(members):
        if runs and m == runs[-1][-1] + 1:
            runs[-1].append(m)
        else:
            runs.append([m])
    words = [f"{r[0]}–{r[-1]}" if len(r) > 2 else ",".join(map(str, r)) for r in runs]
    return "{" + ",".join(words) + "}"


def installed(past: History) -> list[Mark]:
    """One mark for each view, at the moment at which its last member installed it."""
    last: dict[int, Mark] = {}
    for mark in past.views:
        last[int(mark.data.get("number", 0))] = mark
    return sorted(last.values(), key=lambda m: m.time)


def view_text(mark: Mark) -> str:
    return f"view {mark.data.get('number')} {members_text(tuple(mark.data.get('members', ())))}"


def durable(past: History) -> list[Mark]:
    """One mark for each checkpoint, whoever recorded it."""
    last = {mark.data.get("step"): mark for mark in past.marks["checkpoint"]}
    return sorted(last.values(), key=lambda m: m.time)


def draw_band(sheet: Sheet, begin: float, end: float, top: float, name: str) -> None:
    """The shaded band of a fault, at least three pixels wide, from its name down to the lanes."""
    begin = max(begin, sheet.begin)
    end = min(max(end, begin + 3 * sheet.pixel), sheet.end)
    band = sheet.lanes.fill_between(
        [begin, end],
        top,
        sheet.last + sheet.pitch / 2,
        color=style.FAULT,
        alpha=0.13,
        lw=0,
        zorder=1,
    )
    band.set_gid(f"fault:{name}")


def draw_deaths(sheet: Sheet) -> None:
    for death in sheet.past.deaths:
        if sheet.shows(death.time):
            cross = sheet.lanes.plot(
                death.time, sheet.y(death.rank), "x", color=style.FAULT, ms=11, mew=3.2, zorder=7,
                clip_on=False,
            )[0]  # fmt: skip
            cross.set_gid(f"death:{death.rank}")


def name_deaths(sheet: Sheet) -> int:
    """The signal's name beside each cross; returns how many found no room."""
    missing = 0
    for death in (d for d in sheet.past.deaths if sheet.shows(d.time)):
        x, y = sheet.x(death.time), sheet.y(death.rank)
        width = width_of(death.cause, style.SMALL)
        below = y + sheet.pitch / 2
        spots = [(x + 0.13, y)] if _empty(sheet, death.rank, x + 0.05, x + 0.2 + width) else []
        above = y - sheet.pitch / 2
        spots += [(a, b) for b in (below, above) for a in (x + 0.05, x - 0.05 - width)]
        if not sheet.place(spots, death.cause, color=style.FAULT, gid=f"cause:{death.rank}"):
            missing += 1
    return missing


def _empty(sheet: Sheet, rank: int, a: float, b: float) -> bool:
    begin, end = sheet.time(a), sheet.time(b)
    return not any(s.begin < end and begin < s.end for s in sheet.past.slices[rank])


def draw_bar(
    sheet: Sheet, time: float, bottom: float, colour: str, gid: str, dotted: bool = False
) -> None:
    """A vertical bar through all lanes, down to the row of its label."""
    ys = [sheet.first - sheet.pitch / 2, bottom]
    how = {"lw": 1.2, "ls": ":"} if dotted else {"lw": 1.6}
    bar = sheet.lanes.plot([time, time], ys, color=colour, zorder=5, clip_on=False, **how)[0]
    bar.set_gid(gid)


def draw_installs(sheet: Sheet) -> None:
    """When each rank installed a view, which is not the same moment for all."""
    half = sheet.thickness / 2
    for v in sheet.past.views:
        if sheet.shows(v.time) and v.rank in sheet.past.ranks:
            y = sheet.y(v.rank)
            ends = [y - half, y + half]
            tick = sheet.lanes.plot([v.time, v.time], ends, color=style.VIEW, lw=3.2, zorder=6)[0]
            tick.set(gid=f"install:{v.rank}", solid_capstyle="butt")


def draw_checkpoint(sheet: Sheet, time: float, y: float, step: Any) -> None:
    line = sheet.lanes.plot(
        [time, time],
        [y, sheet.last + sheet.thickness / 2],
        color=style.CHECKPOINT,
        lw=1.0,
        zorder=4,
    )[0]
    line.set_gid(f"checkpoint:{step}")
    sheet.lanes.plot(time, y, "D", color=style.CHECKPOINT, ms=6.5, zorder=6, clip_on=False)


def draw_messages(sheet: Sheet, crowd: int | None = None) -> int:
    """Arrows from lane to lane; returns how many were left out because they would be a cloud.

    `crowd` is how many may be sent within a few pixels before they are one black bar.
    """
    from matplotlib.collections import LineCollection, PolyCollection

    known = set(sheet.past.ranks)
    here = [
        m
        for m in sheet.past.messages
        if sheet.shows(m.sent) and m.source in known and m.target in known
    ]
    drawn = uncrowded(here, CROWD * sheet.pixel, crowd)
    sheet.arrows = drawn
    shafts, heads = [], []
    for m in drawn:
        a, b = (sheet.x(m.sent), sheet.y(m.source)), _tip(sheet, m)
        shafts.append([(sheet.time(a[0]), a[1]), (sheet.time(b[0]), b[1])])
        shape = _head(a, b) if m.received is not None else _stop(a, b)
        heads.append([(sheet.time(x), y) for x, y in shape])
    if drawn:
        ink: dict[str, Any] = {"color": style.MESSAGE, "zorder": 6}
        lines: Any = LineCollection(shafts, linewidth=1.0, **ink)
        lines.set_gid("messages")
        sheet.lanes.add_collection(lines, autolim=False)
        sheet.lanes.add_collection(PolyCollection(heads, linewidth=0, **ink), autolim=False)
    return len(here) - len(drawn)


def name_messages(sheet: Sheet) -> None:
    """Each name once, beside the first arrow that has it, in the white between two lanes."""
    named: set[str] = set()
    for m in sheet.arrows:
        if not m.name or m.name in named or len(named) >= NAMES:
            continue
        a, b = (sheet.x(m.sent), sheet.y(m.source)), _tip(sheet, m)
        wide = width_of(m.name, style.SMALL)
        spots = []
        for share in (0.5, 0.25, 0.75, 0.1, 0.9):
            y = _gap(sheet, a[1] + share * (b[1] - a[1]))
            x = a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]) if b[1] != a[1] else a[0]
            spots += [(x + 0.07, y), (x - 0.07 - wide, y)]
        spots.sort(key=lambda spot: _arrows_behind(sheet, spot[0], spot[1], wide))
        if sheet.place(spots, m.name, color=style.MESSAGE, gid=f"message:{m.name}"):
            named.add(m.name)


def _arrows_behind(sheet: Sheet, x: float, y: float, wide: float) -> int:
    """How many arrows pass behind a line of text there."""
    found = 0
    for m in sheet.arrows:
        (x0, y0), (x1, y1) = (sheet.x(m.sent), sheet.y(m.source)), _tip(sheet, m)
        if y0 != y1 and min(y0, y1) < y < max(y0, y1):
            at = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
            found += x - 0.04 < at < x + wide + 0.04
    return found


def _gap(sheet: Sheet, y: float) -> float:
    """The nearest middle between two lanes."""
    place = math.floor((y - sheet.first) / sheet.pitch)
    return sheet.first + sheet.pitch * (min(max(place, 0), len(sheet.past.ranks) - 2) + 0.5)


def draw_losses(sheet: Sheet) -> None:
    """A dot where a rank noticed that a peer is gone; each sentence stands at its first dot."""
    said: set[str] = set()
    for mark in sheet.past.marks["lost"]:
        if sheet.shows(mark.time) and mark.rank in sheet.past.ranks:
            dot = sheet.lanes.plot(
                mark.time, sheet.y(mark.rank), "o", color=style.FAULT, ms=7.5, mec=style.PAPER,
                mew=1.0, zorder=7,
            )[0]  # fmt: skip
            dot.set_gid(f"lost:{mark.rank}")
            text = mark.name or f"lost rank {mark.data.get('peer')}"
            x, wide = sheet.x(mark.time), width_of(text, style.SMALL)
            under = sheet.y(mark.rank) + sheet.pitch / 2
            spots = [(x - 0.05 - wide, under), (x - 0.05 - wide, under - sheet.pitch)]
            if text not in said and sheet.place(spots, text, color=style.FAULT, gid="lost"):
                said.add(text)


def uncrowded(messages: list[Message], seconds: float, crowd: int | None) -> list[Message]:
    """Those of a `crowd` or less sent within `seconds`; none if that is more than `MESSAGES`."""
    messages = sorted(messages, key=lambda m: m.sent)
    times = [m.sent for m in messages]
    kept = [
        m
        for m in messages
        if crowd is None
        or bisect_right(times, m.sent + seconds) - bisect_left(times, m.sent - seconds) <= crowd
    ]
    return kept if len(kept) <= MESSAGES else []


def _tip(sheet: Sheet, m: Message) -> tuple[float, float]:
    if m.received is not None:
        return sheet.x(min(m.received, sheet.end)), sheet.y(m.target)
    return sheet.x(m.sent) + 0.12, (sheet.y(m.source) + sheet.y(m.target)) / 2


def _head(a: tuple[float, float], b: tuple[float, float]) -> list[tuple[float, float]]:
    angle = math.atan2(b[1] - a[1], b[0] - a[0])
    back = [(angle + math.pi - 0.4, 0.1), (angle + math.pi + 0.4, 0.1)]
    return [b, *((b[0] + r * math.cos(t), b[1] + r * math.sin(t)) for t, r in back)]


def _stop(a: tuple[float, float], b: tuple[float, float]) -> list[tuple[float, float]]:
    angle = math.atan2(b[1] - a[1], b[0] - a[0]) + math.pi / 2
    dx, dy = 0.06 * math.cos(angle), 0.06 * math.sin(angle)
    return [(b[0] + dx, b[1] + dy), (b[0] - dx, b[1] - dy), (b[0] - dx + 0.015, b[1] - dy + 0.015)]
