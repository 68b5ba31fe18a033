"""A student's variant: which bug is to be found in the cell, from the hand-out to the mark."""

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest
from handed_in import notebook
from msgspec import structs
from typer.testing import CliRunner

from labkit.cli import app
from labkit.grading import exercise
from labkit.grading.course import library, variant
from labkit.grading.exercise import ExerciseError
from labkit.grading.prove import complaints
from labkit.grading.record import file_name
from labkit.notebooks.source import mark_of

SECRET = "between us"
CLASS = ("Lovelace, Ada", "bob", "cyd", "dan", "eve", "fay")
FIND = [name for name in exercise.ids() if exercise.load(name).given]
RAFT = exercise.load("raft.6")


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def fixed(text, bug):
    """The cell with the repair of this bug in it, if it has that bug."""
    return text.replace(bug.new, bug.old) if text.count(bug.new) == 1 else text


@pytest.fixture(scope="module")
def roster(tmp_path_factory):
    path = tmp_path_factory.mktemp("roster") / "roster.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["student"], *([name] for name in CLASS)])
    return path


@pytest.fixture(scope="module")
def copies(roster):
    """The folder of each student's copy, by name."""
    out = roster.with_name("lab")
    result = run("release", out, "--roster", roster, "--secret", SECRET)
    assert result.exit_code == 0, result.output
    assert len(list(out.iterdir())) == 2 * len(CLASS)
    return {name: out / file_name(name) for name in CLASS}


def cells_of(copy, graded):
    """The code cells of the notebook that has this exercise."""
    path = copy / "notebooks" / f"{graded.about.notebook}.ipynb"
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]


def test_there_are_bugs_to_be_drawn():
    assert len(FIND) == 5
    for name in FIND:
        graded = exercise.load(name)
        assert graded.about.kind == "find"
        drawn = {graded.bug_of(variant(SECRET, f"student {i}")).name for i in range(100)}
        assert drawn == {bug.name for bug in graded.given}
        assert len(drawn) >= 3
        assert len({graded.bug_of(variant(SECRET, student)).name for student in CLASS}) > 1


@pytest.mark.parametrize("student", CLASS)
@pytest.mark.parametrize("name", FIND)
def test_a_copy_has_the_students_own_bug(copies, student, name):
    graded, seed = exercise.load(name), variant(SECRET, student)
    own = graded.mutated(graded.bug_of(seed))
    cells = cells_of(copies[student], graded)
    places = [i for i, c in enumerate(cells) if mark_of("".join(c["source"])) == name]
    assert ["".join(cells[place]["source"]) for place in places] == [own]
    check = cells[places[0] + 1]
    assert f'check("{name}"' in "".join(check["source"])
    assert bool(check["outputs"]) == (own == graded.skeleton), "what was said of another bug"
    home = exercise.folder_of(name, copies[student] / "labkit/grading/exercises")
    assert (home / "cell.py").read_text() == own + "\n"


@pytest.mark.parametrize("student", CLASS)
def test_a_copy_has_no_other_bug_and_no_right_cell(copies, student):
    folder, seed = copies[student], variant(SECRET, student)
    with zipfile.ZipFile(f"{folder}.zip") as archive:
        suffixes = (".py", ".ipynb", ".md", ".toml")
        texts = {n: archive.read(n).decode() for n in archive.namelist() if n.endswith(suffixes)}
    assert f"made for {student}." in texts[f"{folder.name}/README.md"]
    for path, text in texts.items():
        if path.endswith(".ipynb"):
            sources = ("".join(cell["source"]) for cell in json.loads(text)["cells"])
            text += "\n".join(sources) + "\n"
        for name in FIND:
            graded = exercise.load(name)
            assert f"{graded.reference}\n".partition("\n")[2] not in text, path
            for bug in graded.given:
                if bug != graded.bug_of(seed):
                    body = f"{graded.mutated(bug)}\n".partition("\n")[2]
                    assert body not in text, (path, bug.name)
                    assert bug.sentence not in text, (path, bug.name)


CHECKED = """
import json
import sys

from labkit import check, progress
from labkit.grading import exercise

for name, repaired in json.load(sys.stdin).items():
    graded = exercise.load(name)
    assert check.judge(name, graded.define(graded.skeleton)).passed is False, name
    check.check(name, graded.define(graded.skeleton))
    assert name not in progress.remembered()
    check.check(name, graded.define(repaired))
    assert name in progress.remembered()
progress.progress()
"""


@pytest.mark.parametrize("student", CLASS[:2])
def test_the_check_of_a_copy_wants_the_bug_out(copies, student, tmp_path):
    """With what students have there; the right cells come from here."""
    home = {**os.environ, "PYTHONPATH": str(copies[student]), "MPLBACKEND": "agg"}
    home["LABKIT_PROGRESS"] = str(tmp_path / "progress.json")
    right = {name: exercise.load(name).reference for name in FIND}
    done = subprocess.run(
        [sys.executable, "-c", CHECKED],
        input=json.dumps(right), cwd=copies[student], env=home, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads((tmp_path / "progress.json").read_text())) == sorted(FIND)


def test_the_teacher_sees_which_bug_it_is_and_students_do_not(copies):
    seed = variant(SECRET, "bob")
    shown = run("replay", seed, "raft.6")
    assert f"“{RAFT.bug_of(seed).name}”" in shown.output
    home = {**os.environ, "PYTHONPATH": str(copies["bob"])}
    command = [sys.executable, "-m", "labkit.cli", "replay", str(seed), "raft.6"]
    done = subprocess.run(command, cwd=copies["bob"], env=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "entries in common" in done.stdout
    assert "bug" not in done.stdout


def test_each_earns_what_the_cell_is_worth(copies, roster, tmp_path):
    """As it came; as it came to somebody else; with somebody else's repair; repaired; with another
    bug, of which one property holds."""
    own = {name: RAFT.skeleton_of(variant(SECRET, name)) for name in CLASS}
    bug = {name: RAFT.bug_of(variant(SECRET, name)) for name in CLASS}
    other = next(name for name in CLASS if bug[name] != bug["cyd"])
    forgets = RAFT.mutants["writes nothing"]
    handed_in = {
        "Lovelace, Ada": (own["Lovelace, Ada"], 0),
        "bob": (own[next(name for name in CLASS if bug[name] != bug["bob"])], 0),
        "cyd": (fixed(own["cyd"], bug[other]), 0),
        "dan": (fixed(own["dan"], bug["dan"]), 4),
        "eve": (fixed(own["eve"], bug["eve"]).replace(forgets.old, forgets.new), 2),
    }
    (tmp_path / "in").mkdir()
    for name, (source, _) in handed_in.items():
        (tmp_path / "in" / f"{name}.ipynb").write_text(notebook(source))
    (tmp_path / "course.toml").write_text('exercises = ["raft.6"]')
    settings = ["--course", tmp_path / "course.toml", "--roster", roster, "--secret", SECRET]
    paths = sorted((tmp_path / "in").iterdir())
    result = run("grade", *paths, "--out", tmp_path / "out", *settings)
    assert result.exit_code == 0, result.output
    rows = csv.DictReader(io.StringIO((tmp_path / "out" / "class.csv").read_text()))
    found = {row["submission"]: int(row["points"]) for row in rows}
    assert found == {name: points for name, (_, points) in handed_in.items()} | {"fay": 0}
    page = (tmp_path / "out" / "feedback" / f"{file_name(CLASS[0])}.html").read_text()
    assert "<title>Lovelace, Ada: 0 of 4 points" in page
    assert f"check(&#34;raft.6&#34;, Follower, seed={variant(SECRET, CLASS[0])})" in page


def test_a_bug_that_leaves_points_is_not_given(best):
    """Else who hands the cell in as it came would earn them."""
    mild = exercise.load("raft.2")
    votes_again = structs.replace(mild.mutants["votes again"], given=True)
    spoiled = replace(mild, mutants={**mild.mutants, "votes again": votes_again})
    said = list(complaints(spoiled, lambda: best))
    title = mild.properties[1].title
    assert f"mutant 'votes again' gives PASS in {title!r}" in said
    assert f"mutant 'votes again' lives through some of the seeds of {title!r}" in said
    few = replace(mild, mutants={n: m for n, m in mild.mutants.items() if n != "writes nothing"})
    assert "raft.2 gives students 2 bugs; it needs 3" in list(complaints(few, lambda: best))


def test_only_where_a_bug_is_to_be_found_one_is_given(tmp_path):
    for name in ("raft.2", "raft.3"):
        home = exercise.folder_of(name, tmp_path)
        home.mkdir()
        for file in exercise.FILES:
            (home / file).write_text((exercise.folder_of(name) / file).read_text())
    for name, old, new in (
        ("raft.2", "given = true\n", ""),
        ("raft.3", "[[mutant]]\n", "[[mutant]]\ngiven = true\n"),
    ):
        path = exercise.folder_of(name, tmp_path) / "mutants.toml"
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(ExerciseError, match="`given` in the kind `find`, and nowhere else"):
            exercise.read(name, tmp_path)


def test_a_secret_is_needed_and_nothing_is_overwritten(roster, tmp_path):
    alone = run("release", tmp_path / "lab", "--roster", roster)
    assert (alone.exit_code, "--secret S" in alone.output) == (2, True)
    assert not (tmp_path / "lab").exists()
    (tmp_path / "lab").mkdir()
    again = run("release", tmp_path / "lab", "--roster", roster, "--secret", SECRET)
    assert (again.exit_code, "is there already" in again.output) == (2, True)


def test_a_private_exercise_has_its_bugs_in_each_copy(roster, tmp_path):
    private = tmp_path / "private"
    home = exercise.folder_of("raft.9", private)
    home.mkdir(parents=True)
    for file in exercise.FILES:
        text = (exercise.folder_of("raft.2") / file).read_text().replace("raft.2", "raft.9")
        (home / file).write_text(text)
    exercise.admit("raft.9", list(exercise.load("raft.2").about.points), private)
    options = ["--roster", roster, "--secret", SECRET, "--exercises", private]
    assert run("release", tmp_path / "lab", *options).exit_code == 0
    graded = library(private)["raft.9"]
    for student in CLASS[:3]:
        cells = cells_of(tmp_path / "lab" / file_name(student), graded)
        sources = ["".join(cell["source"]) for cell in cells]
        assert sources.count(graded.skeleton_of(variant(SECRET, student))) == 1
