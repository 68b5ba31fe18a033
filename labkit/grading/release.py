"""`labkit release`: the lab as students get it, without solutions, mutants and tests.

Instead of the solution an exercise has what is right for the cases of seed 0, so that `check` still
says what is wrong; the grader draws others. What of its checks would tell the solution has no body
there (`labkit.grading.hidden`). The library itself stays whole, since the notebooks train with it:
an exercise that must not be found in it belongs into a private folder.

With a roster and a secret each student gets a copy of their own. Where a bug is to be found, it has
the one that the student's seed draws, and no other.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from labkit import check
from labkit.grading import exercise
from labkit.grading.course import library, variant
from labkit.grading.exercise import Graded
from labkit.grading.hidden import KNOWN, taken_down, without_hidden
from labkit.grading.inside.values import pack
from labkit.grading.record import file_name
from labkit.grading.score import draws
from labkit.notebooks import NOTEBOOKS, REPOSITORY
from labkit.notebooks.source import mark_of

FILES = (
    *("LICENSE", "Makefile", "pyproject.toml", "constraints.txt", "environment.yml"),
    *(".ci/environment.py", ".gitignore", "cluster"),
)
"""What of the repository students need besides the package and the notebooks."""
WITHOUT = ("__pycache__", "*.pyc", "*.egg-info")
WHEN = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the zip, so that the same lab gives the same zip."""
ABOUT = """# The lab, for students

`make lab` installs it and opens JupyterLab on the first notebook; you need Linux, macOS or WSL2 and
Python 3.11 to 3.14. Work in `my-notebooks/`, and hand in the notebooks that are in there.

`check("ring.1", my_function)` says what is right or wrong, `hint("ring.1")` helps in three steps,
and `progress()`, from `labkit.check`, shows what is solved. Your work is graded on other cases than
those that `check` knows here.
"""


def release(out: Path, overlay: Path | None = None) -> list[Path]:
    """Makes the folder `out` and `out.zip`. Raises FileExistsError where one of them is there, and
    ExerciseError."""
    archive = out.with_name(f"{out.name}.zip")
    free(out, archive)
    make(out, library(overlay), overlay)
    zipped(out, archive)
    return [out, archive]


def release_to(students: Iterable[str], secret: str, out: Path, overlay: Path | None) -> list[Path]:
    """The same for each student, as `out`/NAME and `out`/NAME.zip."""
    free(out)
    known = library(overlay)
    common = out / ".common"
    make(common, known, overlay)
    made: list[Path] = []
    for student in students:
        folder = out / file_name(student)
        shutil.copytree(common, folder)
        give(known, folder, variant(secret, student))
        about = f"{ABOUT}\nThis copy was made for {student}.\n"
        (folder / "README.md").write_text(about, encoding="utf-8")
        archive = folder.with_name(f"{folder.name}.zip")
        zipped(folder, archive)
        made += [folder, archive]
    shutil.rmtree(common)
    return made


def free(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise FileExistsError(f"{path} is there already: name another, or remove it")


def make(folder: Path, known: Mapping[str, Graded], overlay: Path | None) -> None:
    """The hand-out of seed 0."""
    folder.mkdir(parents=True)
    copy_files(folder)
    hand_out(known.values(), folder / "labkit/grading/exercises")
    private = [known[name] for name in exercise.ids(overlay)] if overlay else []
    books(private, folder / "notebooks")
    (folder / "README.md").write_text(ABOUT, encoding="utf-8")


def give(known: Mapping[str, Graded], folder: Path, seed: int) -> None:
    """Puts the bugs that this seed draws into a hand-out. What a check has said of another bug is
    taken out of the notebook."""
    for graded in known.values():
        text = graded.skeleton_of(seed)
        if text == graded.skeleton:
            continue
        own = exercise.folder_of(graded.id, folder / "labkit/grading/exercises")
        (own / "cell.py").write_text(text + "\n", encoding="utf-8")
        path = folder / "notebooks" / f"{graded.about.notebook}.ipynb"
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for each in notebook["cells"]:
            source = "".join(each["source"])
            if mark_of(source) == graded.id:
                each["source"] = text.splitlines(True)
            elif f'check("{graded.id}"' not in source or each["cell_type"] != "code":
                continue
            each |= {"execution_count": None, "outputs": []}
        write(notebook, path)


def copy_files(out: Path) -> None:
    for name in FILES:
        source, target = REPOSITORY / name, out / name
        if not source.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*WITHOUT))
        else:
            shutil.copyfile(source, target)

    def left_out(folder: str, names: list[str]) -> set[str]:
        found = shutil.ignore_patterns(*WITHOUT)(folder, names)
        if Path(folder) == REPOSITORY / "labkit/checks":
            found |= {name for name in names if name != "__init__.py"}
        if Path(folder) == exercise.EXERCISES:
            found |= {name for name in names if not name.endswith(".py")}
        return found

    shutil.copytree(REPOSITORY / "labkit", out / "labkit", ignore=left_out)


def hand_out(known: Iterable[Graded], folder: Path) -> None:
    """The exercises as students get them, and a manifest of them."""
    for graded in known:
        target = exercise.folder_of(graded.id, folder)
        target.mkdir()
        shutil.copyfile(graded.folder / "exercise.toml", target / "exercise.toml")
        checks = (graded.folder / "checks.py").read_text(encoding="utf-8")
        (target / "checks.py").write_text(without_hidden(checks), encoding="utf-8")
        (target / "cell.py").write_text(graded.skeleton + "\n", encoding="utf-8")
        (target / KNOWN).write_bytes(msgspec.msgpack.encode(pack(answers(graded))))
        exercise.admit(graded.id, [prop.title for prop in graded.properties], folder)


def answers(graded: Graded) -> dict[str, Any]:
    """What is right for seed 0, by what each case is drawn from, and what hidden functions gave on
    the way; without the properties of which that cannot be written down as plain data, which
    students cannot check by themselves then."""
    found: dict[str, Any] = {}
    reference = graded.define(graded.reference)
    with taken_down() as taken:
        for prop in graded.properties:
            texts = check.seeds(graded.id, prop.title, prop.cases, 0)
            try:
                for text, drawn in zip(texts, draws(graded, prop, 0), strict=True):
                    found[text] = plain(prop.run(reference, *copy.deepcopy(drawn)))
            except TypeError:
                continue
    return found | {key: plain(value) for key, value in taken.items()}


def plain(value: Any) -> Any:
    """The value without what a check has hung on it for its picture. Raises TypeError."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [plain(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if value is None or isinstance(value, bool | torch.Tensor):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    pack(value)
    return value


def books(private: Iterable[Graded], folder: Path) -> None:
    """The notebooks as they are stored, with the cells of private exercises in them."""
    skip = shutil.ignore_patterns("src", ".*")
    shutil.copytree(NOTEBOOKS, folder, ignore=skip)
    for graded in private:
        path = folder / f"{graded.about.notebook}.ipynb"
        if not path.exists():
            raise exercise.ExerciseError(f"{graded.id}: there is no notebook {path.stem}")
        notebook = json.loads(path.read_text(encoding="utf-8"))
        place(notebook["cells"], graded)
        write(notebook, path)


def write(notebook: dict[str, Any], path: Path) -> None:
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def place(cells: list[dict[str, Any]], graded: Graded) -> None:
    """In the place of the cell that is marked with the exercise, with its heading above and its
    check below; else at the end."""
    calls = f'from labkit.check import check\n\ncheck("{graded.id}", {graded.about.function})'
    own = [
        cell("markdown", f"### {graded.heading}\n\n{graded.about.title}", graded.id),
        cell("code", graded.skeleton, graded.id),
        cell("code", calls, graded.id),
    ]
    marked = [i for i, c in enumerate(cells) if mark_of("".join(c["source"])) == graded.id]
    if not marked:
        cells.extend(own)
        return
    at = marked[0]
    headed = [i for i in range(at) if f"### Exercise {graded.id} " in "".join(cells[i]["source"])]
    cells[headed[-1] if headed else at : at + 2] = own  # its check stands right below it


def cell(kind: str, text: str, name: str) -> dict[str, Any]:
    made: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": text.splitlines(True)}
    made["id"] = re.sub(r"\W", "-", f"{name}-{kind}-{len(text)}")
    if kind == "code":
        made |= {"execution_count": None, "outputs": []}
    return made


def zipped(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as output:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = str(Path(folder.name) / path.relative_to(folder))
                info = zipfile.ZipInfo(name, WHEN)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = (path.stat().st_mode & 0o777) << 16
                output.writestr(info, path.read_bytes())
