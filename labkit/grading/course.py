"""What a teacher decides: which exercises count and how much, private ones, each student's variant.

A course is one TOML file:

    exercises = ["ring.1", "ring.2", "commit.1"]    # left away: all of the notebooks handed in

    [weights]                                       # left away: 1
    "ring.1" = 2                                    # its points count twice

A roster is a CSV file with a column `student` and, where files are not called after students, a
column `submission`. With a secret every student has a seed, so that what is drawn for one (victims,
moments, constants, the bug that is to be found) is not what is drawn for another, and nobody else
can know it.
"""

from __future__ import annotations

import csv
import hmac
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from labkit.grading import exercise
from labkit.grading.collect import Submission
from labkit.grading.exercise import ExerciseError, Graded
from labkit.grading.record import file_name

SEEDS = 10**9


class CourseError(Exception):
    """What is wrong with a teacher's files."""


class Course(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The TOML file. `weights` multiply an exercise's points."""

    exercises: tuple[str, ...] = ()
    weights: dict[str, int] = {}


@dataclass(frozen=True)
class Setting:
    """What a class is graded with. `chosen` is empty where what is handed in decides; `students`
    are names by the stem of their submission."""

    known: Mapping[str, Graded]
    chosen: Sequence[Graded] = ()
    students: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""

    def seed_of(self, student: str, seed: int) -> int:
        return variant(self.secret, student) if self.secret else seed


def setting(
    course: Path | None = None,
    overlay: Path | None = None,
    roster: Path | None = None,
    secret: str = "",
) -> Setting:
    """Reads the teacher's files. Raises CourseError and ExerciseError with a sentence."""
    known = library(overlay)
    if course is None:
        return Setting(known, (), read_roster(roster), secret)
    plan = read_course(course, known)
    known = {name: weighted(graded, plan.weights.get(name, 1)) for name, graded in known.items()}
    return Setting(known, [known[name] for name in plan.exercises], read_roster(roster), secret)


def every_exercise(overlay: Path | None = None) -> dict[str, Graded]:
    """The lab's exercises; those of a private folder are added, or take the place of its own."""
    known = {name: exercise.load(name) for name in exercise.ids()}
    if overlay is not None:
        private = exercise.ids(overlay)
        if not private:
            raise ExerciseError(
                f"{overlay} has no exercise that is proved: write one with "
                f"`labkit new-exercise NAME --exercises {overlay}`"
            )
        known |= {name: exercise.load(name, overlay) for name in private}
    return known


def library(overlay: Path | None = None) -> dict[str, Graded]:
    """The same, with solutions. Raises ExerciseError in a copy that was handed out."""
    known = every_exercise(overlay)
    handed_out = [name for name, graded in known.items() if graded.known is not None]
    if handed_out:
        raise ExerciseError(
            "this copy of the lab was handed out to students, without solutions: nothing can be "
            "graded with it. Use the one that you released it from."
        )
    return known


def weighted(graded: Graded, weight: int) -> Graded:
    points = {title: weight * each for title, each in graded.about.points.items()}
    return replace(graded, about=msgspec.structs.replace(graded.about, points=points))


def read_course(path: Path, known: Iterable[str]) -> Course:
    try:
        plan = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Course)
    except OSError as error:
        raise CourseError(f"{path}: {error.strerror}") from None
    except (ValueError, msgspec.ValidationError) as error:  # no TOML, or no text at all
        raise CourseError(f"{path}: {error}") from None
    for name in [*plan.exercises, *plan.weights]:
        if name not in known:
            raise CourseError(f"{path}: there is no exercise {name!r}, but {', '.join(known)}")
    light = [name for name, weight in plan.weights.items() if weight < 1]
    if light:
        raise CourseError(f"{path}: {light[0]} weighs less than 1; leave it out of `exercises`")
    return plan


def read_roster(path: Path | None) -> dict[str, str]:
    """Students by the stem of their submission. Raises CourseError."""
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise CourseError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CourseError(f"{path}: {error}") from None
    if not rows or "student" not in rows[0]:
        raise CourseError(f"{path} needs a heading with the word student, and a line for each")
    found: dict[str, str] = {}
    files: dict[str, str] = {}
    for row in rows:
        student = (row["student"] or "").strip()
        stem = Path((row.get("submission") or "").strip() or student)
        key = stem.stem if stem.suffix in (".ipynb", ".zip") else stem.name
        if not student or key in found or student in found.values():
            raise CourseError(f"{path}: {student or 'a line without a student'} stands there twice")
        other = files.setdefault(file_name(student), student)
        if other != student:
            raise CourseError(f"{path}: {other!r} and {student!r} would have the same files")
        found[key] = student
    return found


def variant(secret: str, student: str) -> int:
    """The seed of all that is drawn for a student: HMAC-SHA256 (RFC 2104), which tells who knows
    one student's nothing about another's."""
    digest = hmac.digest(secret.encode(), student.encode(), "sha256")
    return int.from_bytes(digest[:8], "big") % SEEDS


def on_roster(submissions: Sequence[Submission], students: Mapping[str, str]) -> list[Submission]:
    """All of them under the students' names, and an empty one for whoever handed in nothing; last
    those who are not on the roster, whatever they are called."""
    if not students:
        return list(submissions)
    missing, known, strangers = dict(students), [], []
    for submission in submissions:
        student = students.get(submission.name)
        missing.pop(submission.name, None)
        if student is None:
            submission.problems.append(f"{submission.name} is not on the roster")
            strangers.append(submission)
        else:
            submission.name = student
            known.append(submission)
    absent = [Submission(student, {}, ["nothing was handed in"]) for student in missing.values()]
    return [*known, *absent, *strangers]
