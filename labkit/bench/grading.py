"""How long a submission takes to be graded: `labkit bench grading`.

The lab's own solutions, handed in as an honest student's: all exercises that there are, in the
strongest jail of this machine. A simple exercise is one that needs one process and no network.
"""

from __future__ import annotations

import json as texts
import sys
import tempfile
from pathlib import Path

from labkit.bench import picture, report
from labkit.grading.course import library
from labkit.grading.exercise import Graded
from labkit.grading.grade import grade
from labkit.grading.record import Record
from labkit.views.progress import progress

FULL, SIMPLE = "a full submission", "a simple exercise"
AIMS = [report.Aim(FULL, "<", 60.0), report.Aim(SIMPLE, "<", 0.5)]  # seconds


def handed_in(known: dict[str, Graded], folder: Path) -> Path:
    cells = [{"cell_type": "code", "source": graded.reference} for graded in known.values()]
    path = folder / "honest.ipynb"
    path.write_text(texts.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    return path


def seconds_of(record: Record, name: str) -> float:
    return sum(result.seconds for result in record.of(name))


def measure(known: dict[str, Graded], seed: int) -> Record:
    """Raises RuntimeError where a solution of the lab's own does not earn everything."""
    with tempfile.TemporaryDirectory() as folder:
        path = handed_in(known, Path(folder))
        record = grade([path], Path(folder) / "out", seed, jobs=1, say=lambda text: None)[0]
    if record.earned != record.points:
        wrong = next(result for result in record.results if not result.earned)
        raise RuntimeError(f"{wrong.exercise}, {wrong.title}: {wrong.sentence}")
    return record


def main(
    json: Path | None = None, plot: Path | None = None, check: bool = False, quick: bool = False
) -> int:
    """Measures, prints, writes what is asked for; returns how many aims were missed."""
    known = library()
    seeds = progress(range(1 if quick else 3), "grading", unit="submission")
    records = [measure(known, seed) for seed in seeds]
    simple = [g.id for g in known.values() if all(p.ranks == 1 for p in g.properties)]
    note = f"{len(known)} exercises, {records[0].points} points, jail: {records[0].jail}"
    rows = [
        report.row(FULL, "ours", "s", [record.seconds for record in records], note),
        report.row(SIMPLE, "ours", "s", [seconds_of(r, name) for r in records for name in simple]),
    ]
    report.show(rows, [slowest(records[0])])
    if json:
        report.write(json, rows)
    if plot:
        picture.durations([picture.Panel("Seconds until graded", rows)]).savefig(plot)
    return report.misses(rows, AIMS) if check else 0


def slowest(record: Record) -> str:
    names = sorted(record.exercises, key=lambda name: -seconds_of(record, name))[:5]
    told = ", ".join(f"{name} {seconds_of(record, name):.1f} s" for name in names)
    return f"The slowest: {told}."


if __name__ == "__main__":
    sys.exit(main())
