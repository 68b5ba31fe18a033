"""An exercise as its folder tells it; `labkit/grading/exercises/commit_1/` is exercise `commit.1`.

    exercise.toml   what it is about, points by property, three hints
    cell.py         the cell: solution between nbgrader's markers, below it the stub; where a bug is
                    to be found, the right cell alone, of which a mutant is handed out
    checks.py       PROPERTIES, a list of Property: what is drawn, and what is compared
    mutants.toml    wrong answers as one-hunk patches of the solution, each with its killer

A property holds for all cases that it draws, or it earns nothing. Its cases must have more than one
right answer, so that a constant earns nothing either.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from labkit.checks import Case, Exercise, call
from labkit.grading.hidden import handed_out

if TYPE_CHECKING:
    from labkit.grading.shrunk import Trial

EXERCISES = Path(__file__).parent / "exercises"
FILES = ("exercise.toml", "cell.py", "checks.py", "mutants.toml")
MANIFEST = "manifest.toml"
ABOUT_MANIFEST = """# The exercises that are graded, and what must hold of an answer. Written by
# `labkit new-exercise`; a property that is here and does not run is an error."""
Kind = Literal["write", "find", "budget", "attack", "predict", "diagnose"]


class ExerciseError(Exception):
    """What is wrong with an exercise's folder, for whoever writes it."""


@dataclass(frozen=True)
class Property:
    """What must hold of an answer, in a title such as “a vote counts once”.

    `draw(random)` gives the arguments of a case. `run(function, *arguments)` gives what is compared
    with what the reference gives, by `labkit.check.difference`: the value, unless told otherwise.
    An answer in a jail looks like any function; what it shares with `run` besides plain values
    and tensors are a `Link` and a `Port` (`labkit.grading.ports`). `ranks` are the processes that
    the answer needs there, `network` whether they need sockets. Where the simulator judges, `trial`
    (`labkit.grading.shrunk`) is what the fewest faults are searched with that show what is wrong.
    """

    title: str
    draw: Callable[[random.Random], tuple[Any, ...]]
    run: Callable[..., Any] = call
    cases: int = 20
    tolerance: float = 1e-6
    ranks: int = 1
    network: bool = False
    picture: Callable[[Sequence[Case]], Any] | None = None
    trial: Trial | None = None


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wrong answer: in the solution, `old` becomes `new`. The property `killed_by` does not hold
    of it, and whoever gives the same answers is told `sentence`.

    Where a bug is to be found, each that is `given` stands in the cell of some students, and no
    property holds of it: who hands the cell in as it came has earned nothing."""

    name: str
    killed_by: str
    sentence: str
    old: str
    new: str
    given: bool = False


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """exercise.toml. `seconds` is the deadline of one property and `reference_seconds` what the
    solution takes for all of them, in jails on a quiet machine; `lines` is the solution's length,
    about."""

    title: str
    notebook: str
    kind: Kind
    function: str
    minutes: int
    lines: int
    reference_seconds: float
    seconds: float
    hints: tuple[str, str, str]
    points: dict[str, int]


@dataclass(frozen=True)
class Graded:
    """An exercise that the grader knows."""

    id: str
    folder: Path
    about: About
    properties: Sequence[Property]
    stub: str
    reference: str
    mutants: Mapping[str, Mutant] = field(default_factory=dict)
    known: Mapping[str, Any] | None = None
    """What is right for the seed 0, where the solution is not there: in a copy for students."""

    @property
    def points(self) -> int:
        return sum(self.about.points.values())

    @property
    def given(self) -> Sequence[Mutant]:
        """The bugs that are handed out, each to some students, where one is to be found."""
        return [mutant for mutant in self.mutants.values() if mutant.given]

    @property
    def skeleton(self) -> str:
        """The cell as it stands in the notebooks: that of seed 0, from which checks draw there."""
        return self.skeleton_of(0)

    def bug_of(self, seed: int) -> Mutant | None:
        """What whoever has this seed is to find, drawn as all cases are."""
        return random.Random(f"{seed}/{self.id}/bug").choice(self.given) if self.given else None

    def skeleton_of(self, seed: int) -> str:
        """The cell as it is handed out: the stub, or the reference with a bug in it."""
        bug = self.bug_of(seed)
        return self.mutated(bug) if bug else self.stub

    @property
    def heading(self) -> str:
        """`Exercise commit.1 (3 points, 10 minutes; about 4 lines, reference runs in 0.1 s)`."""
        points = counted(self.points, "point")
        minutes, lines = counted(self.about.minutes, "minute"), counted(self.about.lines, "line")
        runs = f"reference runs in {self.about.reference_seconds:g} s"
        return f"Exercise {self.id} ({points}, {minutes}; about {lines}, {runs})"

    def define(self, source: str) -> Callable[..., Any]:
        """The function of a cell of the lab's own: the reference, a mutant. Never a student's."""
        names: dict[str, Any] = {"__name__": self.id}
        exec(compile(source, f"<{self.id}>", "exec"), names)
        function: Callable[..., Any] = names[self.about.function]
        return function

    def mutated(self, mutant: Mutant) -> str:
        """The reference with the mutant's bug. Raises ExerciseError unless `old` is in it once."""
        if self.reference.count(mutant.old) != 1:
            raise ExerciseError(
                f"{self.id}, mutant {mutant.name!r}: its old text must stand in the solution once, "
                f"not {self.reference.count(mutant.old)} times"
            )
        return self.reference.replace(mutant.old, mutant.new)

    def as_checked(self, prop: Property) -> Exercise:
        """One property in the form that the notebook's check runs."""
        wrong = {m.sentence: self.define(self.mutated(m)) for m in self.mutants.values()}
        return Exercise(
            reference=self.define(self.reference),
            draw=prop.draw,
            mistakes=wrong,
            run=prop.run,
            picture=prop.picture,
            trial=prop.trial,
            cases=prop.cases,
            seconds=self.about.seconds,
            tolerance=prop.tolerance,
            title=prop.title,
            known=self.known,
        )

    def digest(self) -> str:
        """Of all that a verdict depends on."""
        texts = [(self.folder / name).read_bytes() for name in FILES]
        points = repr(self.about.points).encode()  # a course may have weighted them
        return hashlib.sha256(b"\0".join([*texts, points])).hexdigest()


def counted(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n != 1)}"


def folder_of(name: str, below: Path = EXERCISES) -> Path:
    return below / name.replace(".", "_")


def manifest(below: Path = EXERCISES) -> dict[str, list[str]]:
    """The exercises that were proved (`labkit new-exercise`), each with its properties."""
    found: dict[str, list[str]] = _toml(below / MANIFEST) if (below / MANIFEST).exists() else {}
    return found


def ids(below: Path = EXERCISES) -> list[str]:
    return list(manifest(below))


@cache
def load(name: str, below: Path = EXERCISES) -> Graded:
    """An exercise of the manifest. Raises KeyError, and ExerciseError where its folder and the
    manifest do not agree: no property may go missing without a word."""
    listed = manifest(below)
    if name not in listed:
        topic = name.partition(".")[0]
        near = [known for known in listed if known.startswith(f"{topic}.")] or listed
        raise KeyError(f"there is no exercise {name!r} to grade, but {', '.join(near)}")
    graded = read(name, below)
    titles = [prop.title for prop in graded.properties]
    if titles != listed[name]:
        raise ExerciseError(f"{name} has the properties {titles}, the manifest says {listed[name]}")
    return graded


def admit(name: str, titles: Sequence[str], below: Path = EXERCISES) -> None:
    """Writes an exercise into the manifest, or its properties as they are now."""
    listed = manifest(below) | {name: list(titles)}
    lines = [ABOUT_MANIFEST]
    for known in sorted(listed):
        titles = ", ".join(f'"{title}"' for title in listed[known])
        lines.append(f'"{known}" = [{titles}]')  # one line each: two branches that add one merge
    (below / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(name: str, below: Path = EXERCISES) -> Graded:
    """An exercise's folder, admitted or not. Raises ExerciseError for what is wrong in it."""
    folder = folder_of(name, below)
    try:
        about = msgspec.convert(_toml(folder / "exercise.toml"), About)
        known = handed_out(folder)
        listed = _toml(folder / "mutants.toml").get("mutant", []) if known is None else []
        mutants = {m.name: m for m in msgspec.convert(listed, list[Mutant])}
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ExerciseError(f"{name}: {error}") from None
    stub, reference = cells(folder / "cell.py", name)
    properties = _properties(folder)
    graded = Graded(name, folder, about, properties, stub, reference, mutants, known)
    titles = [prop.title for prop in properties]
    if titles != list(about.points):
        raise ExerciseError(f"{name}: exercise.toml has points for other properties than {titles}")
    for mutant in mutants.values():
        if mutant.killed_by not in titles:
            raise ExerciseError(f"{name}, mutant {mutant.name!r}: no property {mutant.killed_by!r}")
        graded.mutated(mutant)
    if known is None and bool(graded.given) != (about.kind == "find"):
        raise ExerciseError(f"{name}: mutants are `given` in the kind `find`, and nowhere else")
    return graded


def cells(path: Path, name: str) -> tuple[str, str]:
    """The learner's cell and the reference's; both begin with the line that says whose they are."""
    from labkit.notebooks.source import mark_of, with_solutions, without_solutions

    text = path.read_text(encoding="utf-8").rstrip()
    if mark_of(text) != name:
        raise ExerciseError(f"{path}: its first line must be `# exercise: {name}`")
    return without_solutions(text, str(path)), with_solutions(text)


def _properties(folder: Path) -> Sequence[Property]:
    name = f"labkit_checks_{folder.name}"
    spec = importlib.util.spec_from_file_location(name, folder / "checks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    found: Sequence[Property] = module.PROPERTIES
    return found


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
