"""What others read of the records: JUnit XML, Gradescope's results.json, a CSV, a Markdown page.

Everything that a student wrote is text in here, and is escaped for what it stands in.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from labkit.grading.levels import gaps
from labkit.grading.page import classroom, failures, feedback, schedule
from labkit.grading.record import Record, Result, Verdict

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_all(records: Sequence[Record], out: Path) -> list[Path]:
    """Writes every report below `out`; the paths of those to look at first."""
    pages = out / "feedback"
    scopes = out / "gradescope"
    for folder in (pages, scopes):
        folder.mkdir(exist_ok=True)
    for record in records:
        (pages / f"{record.file}.html").write_text(feedback(record), encoding="utf-8")
        text = json.dumps(gradescope(record), indent=1) + "\n"
        (scopes / f"{record.file}.json").write_text(text)
        if len(records) == 1:
            (out / "results.json").write_text(text)
    (out / "junit.xml").write_bytes(junit(records))
    (out / "class.csv").write_text(table(records), encoding="utf-8")
    (out / "summary.md").write_text(summary(records), encoding="utf-8")
    (out / "class.html").write_text(classroom(records), encoding="utf-8")
    first = pages / f"{records[0].file}.html" if len(records) == 1 else pages
    return [out / "summary.md", out / "class.csv", out / "class.html", first]


def junit(records: Sequence[Record]) -> bytes:
    """One test case for each property: FAIL is a failure, all else that is not PASS an error."""
    suites = ElementTree.Element("testsuites")
    for record in records:
        counts = Counter(result.verdict for result in record.results)
        errors = len(record.results) - counts[Verdict.PASS] - counts[Verdict.FAIL]
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=xml(record.name),
            tests=str(len(record.results)),
            failures=str(counts[Verdict.FAIL]),
            errors=str(errors),
            time=f"{record.seconds:.2f}",
        )
        for result in record.results:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=result.exercise,
                name=xml(result.title),
                time=f"{result.seconds:.3f}",
            )
            if result.verdict is not Verdict.PASS:
                kind = "failure" if result.verdict is Verdict.FAIL else "error"
                found = ElementTree.SubElement(
                    case, kind, type=result.verdict, message=xml(result.sentence)
                )
                found.text = xml("\n".join([*result.lines, result.replay]))
    ElementTree.indent(suites)
    written: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return written


def xml(text: str) -> str:
    return NOT_XML.sub("�", text)


def gradescope(record: Record) -> dict[str, Any]:
    """As gradescope-autograders.readthedocs.io, “Output format”, has it."""
    tests = [
        {
            "name": f"{result.exercise}: {result.title}",
            "score": result.earned,
            "max_score": result.points,
            "status": "passed" if result.verdict is Verdict.PASS else "failed",
            "output": "\n".join(
                [f"{result.verdict}. {result.sentence}", *result.lines, result.replay]
            ),
            "output_format": "text",
        }
        for result in record.results
    ]
    return {
        "score": record.earned,
        "execution_time": round(record.seconds),
        "output": "\n".join([f"seed {record.seed}, jail: {record.jail}", *record.problems]),
        "output_format": "text",
        "tests": tests,
    }


def table(records: Sequence[Record]) -> str:
    """One line for each submission, one column for each exercise."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    exercises = records[0].exercises if records else []
    writer.writerow(["submission", *exercises, "points", "of", "percent"])
    for record in records:
        earned = [sum(result.earned for result in record.of(name)) for name in exercises]
        total = [record.earned, record.points, f"{record.percent:.1f}"]
        writer.writerow([cell(record.name), *earned, *total])
    return output.getvalue()


def cell(text: str) -> str:
    """A spreadsheet takes a text that begins like this for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def summary(records: Sequence[Record]) -> str:
    """A page for a CI service: how the class did, property by property, and what failed most."""
    record = records[0]
    count = len(records)
    own = len({each.seed for each in records}) > 1
    seeds = "A seed for each student" if own else f"Seed {record.seed}"
    whose = f" for {markdown(record.name)}" if own else ""
    lines = [
        f"# {count} submission{'s' * (count != 1)}, {record.points} points each",
        "",
        f"{seeds}, jail: {record.jail}. `labkit replay {record.seed} {record.exercises[0]}` shows "
        f"what was drawn{whose}.",
        "",
    ]
    lines += properties(records)
    lines += hardest(records)
    lines += ["", "| submission | points | |", "|---|---:|---|"]
    for one in records:
        problems = "; ".join(markdown(problem) for problem in one.problems)
        lines.append(f"| {markdown(one.name)} | {one.earned} of {one.points} | {problems} |")
    level = record.jail.split(",")[0]
    lines += ["", f"What a jail of level `{level}` does about student code that tries to …", ""]
    lines += [f"- {attempt}: {outcome}" for attempt, outcome in gaps(level)]
    return "\n".join(lines) + "\n"


def hardest(records: Sequence[Record]) -> list[str]:
    """The shrunk schedule that most of the class failed, and its story as one of them has it."""
    rows = zip(*(record.results for record in records), strict=True)
    most = max(rows, key=lambda results: schedule(results)[1], default=())
    faults, times = schedule(most)
    if not times:
        return []
    one = next(result for result in most if result.faults == faults)
    return [
        "",
        f"The schedule that most failed, {times} of {len(records)}: {markdown(faults)}, in "
        f"{one.exercise}, {one.title}.",
        "",
        *(f"    {line}" for line in one.lines),
    ]


def properties(records: Sequence[Record]) -> list[str]:
    lines = [
        "| exercise | property | pass | fail | other | what failed most often |",
        "|---|---|---:|---:|---:|---|",
    ]
    for place, first in enumerate(records[0].results):
        results = [record.results[place] for record in records]
        counts = Counter(result.verdict for result in results)
        other = len(results) - counts[Verdict.PASS] - counts[Verdict.FAIL]
        lines.append(
            f"| {first.exercise} | {first.title} | {counts[Verdict.PASS]} | "
            f"{counts[Verdict.FAIL]} | {other} | {most_frequent(results)} |"
        )
    return lines


def most_frequent(results: Sequence[Result]) -> str:
    """The known mistake, or else the case, that most submissions failed with."""
    found = failures(results)
    if not found:
        return ""
    words, times = found.most_common(1)[0]
    return f"{markdown(words)} ({times}×)"


def markdown(text: str) -> str:
    """In a table's cell, as text: no table, no link, no tag comes of it."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~-])", r"\\\1", " ".join(text.split()))[:300]
