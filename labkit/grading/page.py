"""The pages that people read: a student's own, and the class's for its teacher."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from labkit.grading.record import Record, Result, Verdict

FREQUENT = 3
"""Mistakes or cases of a property that the class's page tells."""


def feedback(record: Record) -> str:
    """What holds, what does not, on which case, and what to try. One HTML file with its pictures
    inside; it loads nothing and runs nothing."""
    shown = [
        {
            "id": name,
            "title": record.titles.get(name, name),
            "earned": sum(result.earned for result in record.of(name)),
            "points": sum(result.points for result in record.of(name)),
            "results": record.of(name),
        }
        for name in record.exercises
    ]
    return str(template("page.html").render(record=record, exercises=shown, data=data))


def classroom(records: Sequence[Record]) -> str:
    """How a class did, property by property, and with what most of them failed."""
    first = records[0]
    shown = [
        {
            "id": name,
            "title": first.titles.get(name, name),
            "properties": [
                of_property([record.results[place] for record in records])
                for place, result in enumerate(first.results)
                if result.exercise == name
            ],
        }
        for name in first.exercises
    ]
    mean = sum(record.percent for record in records) / len(records)
    page = template("class.html")
    return str(page.render(records=records, exercises=shown, mean=mean, jail=first.jail, data=data))


def of_property(results: Sequence[Result]) -> dict[str, Any]:
    """One row of the class's page; `results` are those of all submissions."""
    passed = sum(result.verdict is Verdict.PASS for result in results)
    frequent = failures(results).most_common(FREQUENT)
    faults, times = schedule(results)
    alike = [r for r in results if faults and r.faults == faults]
    alike += [r for r in results if frequent and why(r) == frequent[0][0]]
    return {
        "title": results[0].title,
        "passed": passed,
        "count": len(results),
        "share": round(100 * passed / len(results)),
        "frequent": frequent,
        "faults": faults,
        "times": times,
        "example": next(iter(alike), None),
    }


def failures(results: Sequence[Result]) -> Counter[str]:
    return Counter(why(result) for result in results if why(result))


def schedule(results: Sequence[Result]) -> tuple[str, int]:
    """The faults of the shrunk schedule that most of them failed, and how many that is."""
    found = Counter(result.faults for result in results if result.faults)
    return found.most_common(1)[0] if found else ("", 0)


def why(result: Result) -> str:
    """The known mistake of a submission, or else the case that came out wrong, if there is one."""
    return result.mistake or result.case


@cache
def template(name: str) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(name)


def data(result: Result) -> str:
    return "data:image/png;base64," + base64.b64encode(result.picture).decode()
