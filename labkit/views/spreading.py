"""Pictures of many members: what their heartbeats cost, and how news travel among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labkit.views import style
from labkit.views.charts import dress, label_ends, margin_for, panel
from labkit.views.space_time import space_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE)


def scales(
    measured: Mapping[str, Sequence[Any]], capacity: float | None = None, title: str = ""
) -> Figure:
    """Messages of one member, and the time until all have noticed a crash, by number of members.

    `measured` has for each protocol its `Scale`s; `capacity` is how many messages a second one
    member can send and read at most, if a line shall be drawn there.
    """
    right = margin_for(list(measured))
    figure = style.figure(8.6 + right, 4.2)
    left = panel(figure, (0.85, 0.65, 3.2, 2.8))
    late = panel(figure, (5.0, 0.65, 3.2, 2.8))
    dress(left, "", "members", "messages of each member, 1/s")
    dress(late, "", "members", "seconds until all have noticed")
    ends = []
    for (name, found), colour in zip(measured.items(), COLOURS, strict=False):
        members = [scale.members for scale in found]
        left.plot(members, [s.messages for s in found], "o-", color=colour, gid=f"messages:{name}")
        late.fill_between(
            members, [s.first for s in found], [s.last for s in found], color=colour, alpha=0.25,
            lw=0, gid=f"range:{name}",
        )  # fmt: skip
        late.plot(members, [s.last for s in found], "o-", color=colour, gid=f"last:{name}")
        ends.append((found[-1].last, name, colour))
    left.set(xscale="log", yscale="log")
    late.set(xscale="log", ylim=(0, None))
    if capacity is not None:
        left.axhline(capacity, color=style.FAULT, lw=1.5, ls="--", gid="capacity")
        left.text(
            left.get_xlim()[0], 1.2 * capacity, " what one core can read and send",
            color=style.words(style.FAULT), size=style.SMALL, family=style.FONT,
        )  # fmt: skip
        left.set_ylim(top=6 * max(capacity, left.get_ylim()[1] / 6))
    label_ends(late, ends)
    _heading(figure, title)
    return figure


def epidemic(
    heard: Mapping[str, Sequence[float]], members: int, x: str = "seconds", title: str = ""
) -> Figure:
    """How many have heard, against time: `heard` are the times at which members did, by method."""
    figure = style.figure(8.6, 3.9)
    axes = panel(figure, (0.95, 0.65, 7.3, 2.7))
    dress(axes, "", x, f"of {members:,} members".replace(",", "\u2009"))
    end = 1.12 * max(max(times) for times in heard.values())
    for (name, times), colour in zip(heard.items(), COLOURS, strict=False):
        xs, ys = [0.0, *sorted(times), end], [*range(len(times) + 1), len(times)]
        line = axes.plot(xs, ys, color=colour, lw=2, drawstyle="steps-post")[0]
        line.set_gid(f"line:{name}")
        axes.plot(max(times), len(times), "o", color=colour, ms=8, clip_on=False, zorder=4)
        axes.annotate(
            f"{name}: {max(times):.1f}", (max(times), len(times)), (0, 8), ha="center",
            textcoords="offset points", size=style.TEXT, weight="bold", family=style.FONT,
            color=style.words(colour), annotation_clip=False,
        )  # fmt: skip
    axes.set(xlim=(0, end), ylim=(0, 1.06 * members))
    _heading(figure, title)
    return figure


def converging(values: Sequence[Sequence[float]], law: float = 0.303, title: str = "") -> Figure:
    """Averaging: on the left some members' values after each period, on the right the variance of
    all on a logarithmic scale, beside the `law` by which it should fall."""
    figure = style.figure(10.0, 3.9)
    left = panel(figure, (0.85, 0.65, 3.7, 2.6))
    right = panel(figure, (5.6, 0.65, 3.1, 2.6))
    dress(left, "", "periods", "value")
    dress(right, "", "periods", "variance")
    periods = list(range(len(values)))
    step = max(1, len(values[0]) // 40)
    for member in range(0, len(values[0]), step):
        left.plot(periods, [now[member] for now in values], color=style.BLUE, lw=0.7, alpha=0.5)
    spread = [_variance(now) for now in values]
    right.plot(periods, spread, "o", color=style.BLUE, ms=5, gid="measured")
    ideal = [spread[0] * law**k for k in range(len(values))]
    right.plot(periods, ideal, color=style.ORANGE, lw=1.6, gid="law")
    right.set_yscale("log")
    for axes in (left, right):
        axes.set_xticks(periods[:: max(1, len(periods) // 5)])
    label_ends(right, [(ideal[-1], f"× {law:.2f} each", style.ORANGE)])
    _heading(figure, title)
    return figure


def probe(sim: Any, origin: int, serial: int, title: str = "") -> Figure:
    """The messages of one probe of SWIM, in their order, from the record of a simulation; a cross
    stands for one that was lost."""
    log: list[tuple[int, str, Any]] = []
    notes: dict[int, str] = {}
    for entry in sim.recorder.trace:
        message, sends = entry.detail, entry.what == "send"
        of_it = getattr(message, "serial", None) == serial
        if not of_it or not (sends or entry.what == "message"):
            continue
        word = {"Ping": "ping", "PingReq": "ping-req", "Ack": "ack"}[type(message).__name__]
        way = (entry.node, entry.peer) if sends else (entry.peer, entry.node)
        if getattr(message, "origin", way[0]) == origin:
            if sends:
                before = len(log) - 1
                again = notes.get(before) == word and log[before][0] == entry.node
                notes[len(log)] = f"2 × {notes.pop(before)}" if again else word
            log.append((entry.node, "send" if sends else "receive", (*way, word)))
    arrived = {message for _, kind, message in log if kind == "receive"}
    lost = {
        i: message[1]
        for i, (_, kind, message) in enumerate(log)
        if kind == "send" and message not in arrived
    }
    return space_time(log, notes=notes, title=title, lost=lost)


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / len(values)


def _heading(figure: Any, title: str) -> None:
    figure.text(
        0.03, 0.97, title, size=style.TITLE, weight="bold", family=style.FONT, va="top", ha="left"
    )
