"""`labkit new-exercise`: a folder to begin with, and the proof before it counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labkit.grading import exercise
from labkit.grading.exercise import EXERCISES, ExerciseError
from labkit.grading.jail import Zygote
from labkit.grading.prove import complaints
from labkit.notebooks import NOTEBOOKS

NAME = re.compile(r"[a-z][a-z_]*\.[0-9]+")

ABOUT = """title = "{name}: say in five words what it is about"
notebook = "{notebook}"
kind = "write"
function = "larger"
minutes = 10
lines = 1
reference_seconds = 0.1
seconds = 5
hints = [
    "What is asked for.",
    "Where to look.",
    "All but the line itself.",
]

[points]
"the larger of two" = 1
"""
CELL = '''# exercise: {name}
def larger(a, b):
    """The larger of two numbers."""
    ### BEGIN SOLUTION
    return a if a > b else b
    ### END SOLUTION
    raise NotImplementedError("exercise {name}: which of the two?")
'''
CHECKS = '''"""{name}: say what is checked, and which bugs of real implementations it must catch."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property


def draw(r: random.Random) -> tuple[int, int]:
    return r.randrange(-9, 10), r.randrange(-9, 10)


PROPERTIES = [Property("the larger of two", draw)]
'''
MUTANT = """[[mutant]]
name = "the smaller"
killed_by = "the larger of two"
sentence = "larger means further to the right, not to the left"
old = "a > b"
new = "a < b"
"""


@dataclass(frozen=True)
class Outcome:
    sentences: list[str]
    admitted: bool


def begin_or_admit(
    name: str, notebook: str, zygote: Callable[[], Zygote], below: Path = EXERCISES
) -> Outcome:
    """The first time a folder, later its proof. Raises ExerciseError, JailError."""
    if not NAME.fullmatch(name):
        raise ExerciseError(f"an exercise is called like ring.1, not {name!r}")
    folder = exercise.folder_of(name, below)
    if not folder.exists():
        return begin(name, notebook, folder, below)
    graded = exercise.read(name, below)
    found = list(complaints(graded, zygote))
    if found:
        return Outcome([*found, f"{name} is not admitted yet: mend that and call again"], False)
    titles = [prop.title for prop in graded.properties]
    exercise.admit(name, titles, below)
    return Outcome([f"{name} is admitted: {'; '.join(titles)}"], True)


def begin(name: str, notebook: str, folder: Path, below: Path) -> Outcome:
    stored = sorted(path.stem for path in NOTEBOOKS.glob("[0-9]*.ipynb"))
    if notebook not in stored:
        raise ExerciseError(f"say to which notebook it belongs: --notebook {' or '.join(stored)}")
    place = f'In the notebook\'s source its place is an empty cell, `# %% exercise="{name}"`.'
    if below != EXERCISES:
        place = f"`labkit release` puts it into the notebook: --exercises {below}"
    folder.mkdir(parents=True)
    texts = {"exercise.toml": ABOUT, "cell.py": CELL, "checks.py": CHECKS, "mutants.toml": MUTANT}
    for file, text in texts.items():
        filled = text.replace("{name}", name).replace("{notebook}", notebook)
        (folder / file).write_text(filled, encoding="utf-8")
    return Outcome(
        [
            f"{folder} is there to be written: {', '.join(texts)}",
            place,
            "Call this again to have it proved and admitted.",
        ],
        False,
    )
