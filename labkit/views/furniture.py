"""What the overview and the anatomy of a recovery share: legend, names, rows of labels."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.views import marks, style
from labkit.views.history import History, Mark
from labkit.views.injected import Injected
from labkit.views.labels import Hanging, height_of, pack, width_of
from labkit.views.recovery import Recovery, recovery
from labkit.views.sheet import MARGIN, Sheet, lane_name
from labkit.views.style import LOOKS, ROLES, Look, looks

ROWS = 7
"""Rows of labels above and below the lanes; a label that finds no room in them is counted."""

KNOWN = [*LOOKS, *ROLES]


def count(number: int) -> str:
    """With thin spaces: 40 000."""
    return f"{number:,}".replace(",", "\u2009")


def duration(seconds: float) -> str:
    """`0.4 ms`, `68 ms`, `1.24 s`."""
    if seconds < 0.00995:
        return f"{1000 * seconds:.2g} ms"
    return f"{1000 * seconds:.0f} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def shown_looks(sheet: Sheet) -> dict[str, Look]:
    """The looks of what happens on this page, in the order of the legend."""
    names = {
        s.activity
        for some in sheet.past.slices.values()
        for s in some
        if s.end > sheet.begin and s.begin < sheet.end
    }
    return looks(sorted(names, key=lambda n: (KNOWN.index(n) if n in KNOWN else len(KNOWN), n)))


@dataclass
class Legend:
    """One swatch and word per activity, centred, in as many rows as it takes."""

    spots: list[tuple[float, float, Look]]
    bottom: float

    def draw(self, sheet: Sheet) -> None:
        for x, y, look in self.spots:
            _swatch(sheet, x, y, look)
            sheet.write(x + 0.35, y, look.label)


def legend(sheet: Sheet, shown: dict[str, Look], top: float) -> Legend:
    entries = list(shown.values())
    here = [s for some in sheet.past.slices.values() for s in some if s.again]
    if any(s.end > sheet.begin and s.begin < sheet.end for s in here):
        entries.append(LOOKS["redone"])
    pauses = [p for some in sheet.past.pauses.values() for p in some]
    if any(end > sheet.begin and begin < sheet.end for begin, end in pauses):
        entries.append(LOOKS["paused"])
    needs = [0.35 + width_of(look.label) + 0.27 for look in entries]
    row_height, rows = height_of() + 0.07, in_rows(needs, sheet.width - 2 * MARGIN)
    spots = []
    for i, row in enumerate(rows):
        x = (sheet.width - sum(needs[k] for k in row) + 0.27) / 2
        for k in row:
            spots.append((x, top + (i + 0.5) * row_height, entries[k]))
            x += needs[k]
    return Legend(spots, top + len(rows) * row_height + 0.04)


def in_rows(needs: list[float], room: float) -> list[list[int]]:
    """Indices in as few rows as possible, about equally long."""
    few = _filled(needs, room)
    for share in range(100):
        even = _filled(needs, sum(needs) / max(1, len(few)) * (1 + share / 100))
        if len(even) <= len(few) and all(sum(needs[k] for k in row) <= room for row in even):
            return even
    return few


def _filled(needs: list[float], room: float) -> list[list[int]]:
    rows: list[list[int]] = []
    for k, need in enumerate(needs):
        if not rows or sum(needs[i] for i in rows[-1]) + need > room:
            rows.append([])
        rows[-1].append(k)
    return rows


def _swatch(sheet: Sheet, x: float, y: float, look: Look) -> None:
    from matplotlib.patches import Rectangle

    dashed = look is LOOKS["paused"]
    patch = Rectangle(
        (x, y - 0.058), 0.26, 0.116,
        facecolor=look.colour,
        hatch=look.hatch or None,
        edgecolor="#666666" if dashed else look.hatch_colour,
        linewidth=1.0 if dashed else 0,
        linestyle="--" if dashed else "-",
    )  # fmt: skip
    patch.set_gid(f"legend:{look.label}")
    sheet.page.add_patch(patch)


def name_lanes(sheet: Sheet) -> None:
    for rank in sheet.past.ranks:
        name = lane_name(sheet.past, rank)
        sheet.write(sheet.left - 0.1, sheet.y(rank), name, ha="right", size=style.LABEL)


# ---- faults, above the lanes -------------------------------------------------------------------


@dataclass
class FaultRows:
    """The names of the faults on this page, each in a row of its own band."""

    faults: list[tuple[Injected, Recovery]]
    spots: list[tuple[float, int] | None]
    top: float

    @property
    def bottom(self) -> float:
        return self.top + height_of() * (1 + max((s[1] for s in self.spots if s), default=-1))

    @property
    def missing(self) -> int:
        return self.spots.count(None)

    def draw(self, sheet: Sheet) -> None:
        for (fault, after), spot in zip(self.faults, self.spots, strict=True):
            middle = self.top + height_of() * (spot[1] + 0.5) if spot else self.bottom
            end = trouble_end(sheet.past, fault, after)
            marks.draw_band(sheet, fault.begin, end, middle, fault.name)
            if spot:
                name, more = _words(fault, after, bool(sheet.past.steps))
                wide = width_of(name, weight="bold")
                red = {"color": style.FAULT}
                sheet.write(spot[0], middle, name, weight="bold", gid=f"name:{name}", **red)
                if more:
                    sheet.write(spot[0] + wide, middle, more, gid=f"took:{name}", **red)


def fault_rows(sheet: Sheet, recoveries: list[Recovery], top: float) -> FaultRows:
    pairs = [
        (f, r)
        for f, r in zip(sheet.past.faults, recoveries, strict=True)
        if f.kind not in ("Resume", "Heal", "Revive")  # they end a band and need none of their own
        and f.begin <= sheet.end
        and trouble_end(sheet.past, f, r) >= sheet.begin
    ]
    labels = []
    for fault, after in pairs:
        name, more = _words(fault, after, bool(sheet.past.steps))
        x = max(sheet.left, sheet.x(fault.begin)) - 0.035
        labels.append(Hanging(x, width_of(name, weight="bold") + width_of(more)))
    spots = pack(labels, MARGIN, sheet.width - MARGIN, ROWS)
    deepest = max((s[1] for s in spots if s), default=0)
    return FaultRows(pairs, [s and (s[0], deepest - s[1]) for s in spots], top)


def _words(fault: Injected, after: Recovery, trains: bool) -> tuple[str, str]:
    if fault.kind != "Kill":
        return fault.name, ""
    if after.seconds is None:
        return fault.name, "  no step since" if trains else ""
    return fault.name, f"  recovered in {duration(after.seconds)}"


def trouble_end(past: History, fault: Injected, after: Recovery) -> float:
    """A kill troubles the run until every survivor is back at work; where nobody trains, for a
    moment."""
    if fault.kind == "Kill" and past.steps:
        return past.end if after.done is None else after.done
    return fault.end


def troubles(past: History) -> list[tuple[float, float]]:
    """When the faults slowed the run, and the deaths that none of them was to cause: a machine that
    was lost, say."""
    unasked = [
        Injected(death.cause, "Kill", (death.rank,), death.time, death.time, death.event)
        for death in past.deaths
        if not death.expected
    ]
    return [(f.begin, trouble_end(past, f, recovery(past, f))) for f in past.faults + unasked]


# ---- moments, below the lanes ------------------------------------------------------------------


@dataclass
class Moment:
    """A bar through the lanes with a label below them."""

    time: float
    text: str
    colour: str
    gid: str
    dotted: bool = False


@dataclass
class MomentRows:
    moments: list[Moment]
    spots: list[tuple[float, int] | None]
    top: float

    @property
    def bottom(self) -> float:
        deepest = max((s[1] for s in self.spots if s), default=-1)
        return self.top + height_of(style.SMALL) * (1 + deepest)

    @property
    def missing(self) -> int:
        return self.spots.count(None)

    def draw(self, sheet: Sheet) -> None:
        row = height_of(style.SMALL)
        for moment, spot in zip(self.moments, self.spots, strict=True):
            low = self.top + ((spot[1] + 0.9) * row if spot else 0.0)
            marks.draw_bar(sheet, moment.time, low, moment.colour, moment.gid, moment.dotted)
            if spot:
                y = self.top + (spot[1] + 0.5) * row
                sheet.write(spot[0], y, moment.text, size=style.SMALL, color=moment.colour)


def moment_rows(sheet: Sheet, moments: list[Moment], top: float) -> MomentRows:
    here = [m for m in moments if sheet.shows(m.time)]
    labels = [Hanging(sheet.x(m.time), width_of(m.text, style.SMALL)) for m in here]
    return MomentRows(here, pack(labels, MARGIN, sheet.width - MARGIN, ROWS), top)


def view_moments(past: History) -> list[Moment]:
    return [
        Moment(v.time, marks.view_text(v), style.VIEW, f"view:{v.data.get('number')}")
        for v in marks.installed(past)
    ]


MERGED = "slices shorter than 2 px merged into shares of time"
NOTES = 6
"""Sentences on one page; more than that is a log, not a picture."""


def note_moments(notes: list[Mark]) -> list[Moment]:
    return [Moment(n.time, _short(n.name), style.GREY, "note", dotted=True) for n in notes]


def occasions(past: History) -> list[Mark]:
    """The notes, and of those that are one occasion the first: ranks in the same view find the same
    and say the same, each of them once. One that repeats itself speaks of another occasion."""
    first: list[Mark] = []
    speakers: dict[tuple[str, int], set[int]] = {}
    for note in past.marks["note"]:
        mine = (v for v in past.views if v.rank == note.rank and v.time <= note.time)
        occasion = note.name, max((v.data.get("number", 0) for v in mine), default=0)
        before = speakers.get(occasion)
        if before is None or note.rank in before:
            first.append(note)
            speakers[occasion] = before = set()
        before.add(note.rank)
    return first


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57].rstrip() + " …"


def footnote(sheet: Sheet, y: float, left_out: dict[str, int]) -> None:
    """What the picture leaves out and how much of it, in its lower right corner."""
    words = [f"{what}: {count(number)}" for what, number in left_out.items() if number]
    if words:
        text = " · ".join(words)
        how = {"ha": "right", "size": style.SMALL, "color": style.GREY, "gid": "left out"}
        sheet.write(sheet.right, y, text, **how)
