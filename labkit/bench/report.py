"""What every bench reports: rows of figures, the lab's and its peers', and whether aims are met."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

Side = Literal["ours", "peer"]


class Row(msgspec.Struct, frozen=True):
    """One figure: the least, the median and the most of `n` measurements, in `unit`.

    `load` is the machine's load average of the last minute when the row was made. Where `at_least`
    is true the median is only a lower bound: what was measured had not ended by its deadline.
    """

    name: str
    side: Side
    unit: str
    n: int
    min: float
    median: float
    max: float
    load: float
    note: str = ""
    at_least: bool = False


class Aim(msgspec.Struct, frozen=True):
    """What the median of a row should be: "<" or ">=" a limit, in the row's unit."""

    row: str
    relation: Literal["<", ">="]
    limit: float

    def met(self, value: float) -> bool:
        return value < self.limit if self.relation == "<" else value >= self.limit


class Losses(list[str]):
    """What could not be measured, a sentence each. The rows of all else are kept."""

    @contextlib.contextmanager
    def kept(self, what: str) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, TimeoutError, ValueError) as error:  # what one that breaks off raises
            self.append(f"NOT MEASURED: {what}: {error}")
            print(self[-1], file=sys.stderr, flush=True)


def row(
    name: str,
    side: Side,
    unit: str,
    values: Sequence[float],
    note: str = "",
    at_least: bool = False,
) -> Row:
    middle, load = statistics.median(values), os.getloadavg()[0]
    return Row(
        name, side, unit, len(values), min(values), middle, max(values), load, note, at_least
    )


def show(rows: Iterable[Row], notes: Sequence[str] = ()) -> None:
    """The rows as a table in plain text, and below it how they were taken."""
    rows = list(rows)
    width = max((len(row.name) for row in rows), default=0)
    print(
        f"{'':{width}}  {'':5} {'unit':>5} {'n':>4} {'min':>9} {'median':>9} {'max':>9} {'load':>5}"
    )
    for r in rows:
        least, mark = (f"{v:9.4g}" for v in (r.min, r.max)), ">=" if r.at_least else ""
        low, high = least
        middle = f"{mark}{r.median:.4g}"
        start = f"{r.name:{width}}  {r.side:5} {r.unit:>5} {r.n:4}"
        print(f"{start} {low} {middle:>9} {high} {r.load:5.1f}  {r.note}".rstrip())
    for note in notes:
        print(note)


def write(path: str | os.PathLike[str], rows: Iterable[Row]) -> None:
    """All rows as a list of JSON objects, readable."""
    Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(list(rows)), indent=2) + b"\n")


def read(path: str | os.PathLike[str]) -> list[Row]:
    return msgspec.json.decode(Path(path).read_bytes(), type=list[Row])


def misses(rows: Iterable[Row], aims: Iterable[Aim]) -> int:
    """Prints how each aim fared, and returns how many were missed; without its row, an aim is."""
    medians, missed = {r.name: r for r in rows}, 0
    for aim in aims:
        got = medians.get(aim.row)
        if got is None:
            missed += 1
            print(f"NOT MEASURED: {aim.row} {aim.relation} {aim.limit:g}")
            continue
        met = aim.met(got.median) and not got.at_least
        missed += not met
        verdict = "met" if met else "MISSED"
        found = f"median {got.median:.4g} {got.unit}, {got.min:.4g} to {got.max:.4g}"
        print(f"{verdict}: {aim.row} {aim.relation} {aim.limit:g} {got.unit} ({found}, n={got.n})")
    return missed
