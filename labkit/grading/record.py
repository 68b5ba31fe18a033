"""What the grader finds out about one submission: the only source of every report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """Only PASS earns points. UNKNOWN is the grader's own failure, and never a student's."""

    PASS = "PASS"
    FAIL = "FAIL"  # a case came out wrong, or nothing was written yet
    ERROR = "ERROR"  # it raised, ended its process, or gave what is no plain value
    TIMEOUT = "TIMEOUT"
    UNKNOWN = "UNKNOWN"


class Result(msgspec.Struct):
    """One property, by its title. `case` is the call that came out wrong and `mistake` the name of
    the mutant that gives the same answers, if there is one; `picture` is a PNG. `lines` are those
    of the cell that raised, or the story of the shortest schedule that shows what is wrong;
    `faults` are that schedule's, without their times."""

    exercise: str
    title: str
    points: int
    verdict: Verdict
    sentence: str
    replay: str
    seconds: float = 0.0
    case: str = ""
    mistake: str = ""
    printed: str = ""
    lines: list[str] = []
    faults: str = ""
    picture: bytes = b""

    @property
    def earned(self) -> int:
        return self.points if self.verdict is Verdict.PASS else 0


def file_name(name: str) -> str:
    """A student's name as that of a file: 60 characters have at most 240 of 255 bytes."""
    return re.sub(r"[^\w.-]", "_", name).strip(".")[:60] or "submission"


class Record(msgspec.Struct):
    """One submission. `digest` is of all that the results depend on, so that a record that is there
    already need not be made again. `titles` are those of the exercises."""

    name: str
    digest: str
    seed: int
    jail: str
    results: list[Result] = []
    problems: list[str] = []
    seconds: float = 0.0
    titles: dict[str, str] = {}

    @property
    def file(self) -> str:
        return file_name(self.name)

    @property
    def earned(self) -> int:
        return sum(result.earned for result in self.results)

    @property
    def points(self) -> int:
        return sum(result.points for result in self.results)

    @property
    def percent(self) -> float:
        return 100 * self.earned / self.points if self.points else 0.0

    def of(self, exercise: str) -> list[Result]:
        return [result for result in self.results if result.exercise == exercise]

    @property
    def exercises(self) -> list[str]:
        return list(dict.fromkeys(result.exercise for result in self.results))


def unknown(records: Sequence[Record]) -> list[Result]:
    return [r for record in records for r in record.results if r.verdict is Verdict.UNKNOWN]
