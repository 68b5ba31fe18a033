"""A course: a class of thirty and its points, weights, variants, a private folder."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import time

import pytest
from classroom import SEED, SOME, make
from handed_in import notebook
from typer.testing import CliRunner

from labkit.cli import app
from labkit.grading import course, exercise
from labkit.grading.collect import Submission
from labkit.grading.course import (
    CourseError,
    library,
    on_roster,
    read_roster,
    setting,
    variant,
)
from labkit.grading.exercise import ExerciseError
from labkit.grading.grade import grade, named, read
from labkit.grading.record import file_name
from labkit.grading.score import draws

COMMIT = exercise.read("commit.1")


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)])


# ---- a class -------------------------------------------------------------------------------------


@pytest.mark.parametrize("only", [SOME, pytest.param((), marks=pytest.mark.long)])
def test_a_class_is_graded_by_one_command_with_the_right_points_for_each(tmp_path, only):
    points = make(tmp_path, only)
    assert len(points) == (len(only) or 30)
    paths = sorted((tmp_path / "handed-in").iterdir())
    settings = ["--course", tmp_path / "course.toml", "--out", tmp_path / "out", "--seed", SEED]
    result = run("grade", *paths, *settings)
    assert result.exit_code == 0, result.output
    rows = csv.DictReader(io.StringIO((tmp_path / "out" / "class.csv").read_text()))
    found = {row["submission"]: int(row["points"]) for row in rows}
    assert found == points
    page = (tmp_path / "out" / "class.html").read_text()
    assert "begins one chunk late" in page  # the mistake of somebody, by its name
    done = run("grade", *paths, *settings)
    assert f"; 0 of {len(points)} submissions to grade" in done.output


@pytest.mark.long  # tests/grading/test_interrupted.py has a smaller one
def test_a_grader_that_is_killed_goes_on_where_it_was(tmp_path):
    """With SIGKILL, in the middle of forty submissions."""
    handed_in = tmp_path / "handed-in"
    handed_in.mkdir()
    why = exercise.read("why.1")
    for number in range(40):
        (handed_in / f"s{number:02}.ipynb").write_text(notebook(why.reference))
    (tmp_path / "course.toml").write_text('exercises = ["why.1"]')
    records = tmp_path / "out" / "records"
    words = ["grade", *sorted(handed_in.iterdir()), "--out", tmp_path / "out"]
    words += ["--course", tmp_path / "course.toml", "--seed", SEED]
    command = [sys.executable, "-m", "labkit.cli", *map(str, words)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(list(records.glob("s*.json"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        first.kill()
        first.wait()
    whole = {path: path.read_bytes() for path in records.glob("s*.json")}
    assert 3 <= len(whole) < 40
    result = run(*words)
    assert f"; {40 - len(whole)} of 40 submissions to grade" in result.output
    assert all(path.read_bytes() == content for path, content in whole.items())
    assert {read(records, f"s{number:02}").earned for number in range(40)} == {1}


# ---- a teacher's files ---------------------------------------------------------------------------


def test_a_course_chooses_exercises_and_weighs_them(tmp_path):
    path = tmp_path / "course.toml"
    path.write_text('exercises = ["ring.1", "commit.1"]\n[weights]\n"ring.1" = 3\n')
    chosen = setting(path).chosen
    assert [(g.id, g.points) for g in chosen] == [("ring.1", 9), ("commit.1", 3)]
    assert chosen[0].digest() != exercise.load("ring.1").digest()  # else old points stayed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('exercises = ["no.1"]', "there is no exercise 'no.1'"),
        ('[weights]\n"no.1" = 2', "there is no exercise 'no.1'"),
        ('[weights]\n"ring.1" = 0', "leave it out"),
        ('exercise = ["ring.1"]', "unknown field"),
        ("exercises = [", "course.toml"),
    ],
)
def test_what_is_wrong_with_a_course_is_said(tmp_path, text, words):
    path = tmp_path / "course.toml"
    path.write_text(text)
    with pytest.raises(CourseError, match=words):
        setting(path)
    (tmp_path / "a.ipynb").write_text(notebook(COMMIT.skeleton))
    result = run("grade", tmp_path / "a.ipynb", "--course", path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


# ---- variants ------------------------------------------------------------------------------------


def test_every_student_has_a_seed_that_only_the_secret_tells():
    seeds = [variant("secret", f"student {i}") for i in range(1000)]
    assert len(set(seeds)) == 1000
    assert variant("secret", "ada") == 695400815  # the same tomorrow, and on another machine
    assert variant("other", "ada") != variant("secret", "ada")
    for prop in COMMIT.properties:
        drawn = [draws(COMMIT, prop, variant("secret", name)) for name in ("ada", "bob")]
        assert drawn[0] != drawn[1]


def test_a_roster_names_students_and_who_handed_in_nothing(tmp_path, borrowed):
    roster = tmp_path / "roster.csv"
    roster.write_text("student,submission\nada,ex1.ipynb\nbob,\ncyd,\n")
    for name in ("ex1", "bob", "stranger"):
        (tmp_path / f"{name}.ipynb").write_text(notebook(COMMIT.reference))
    paths = sorted(tmp_path.glob("*.ipynb"))
    plan = setting(None, None, roster, "secret")
    records = grade(paths, tmp_path / "out", jobs=1, say=str, setting=plan)
    assert {r.name: r.earned for r in records} == {"ada": 3, "bob": 3, "cyd": 0, "stranger": 3}
    by_name = {r.name: r for r in records}
    assert by_name["cyd"].problems == ["nothing was handed in"]
    assert by_name["stranger"].problems == ["stranger is not on the roster"]
    assert by_name["ada"].seed == variant("secret", "ada") != by_name["bob"].seed
    assert f"seed={by_name['bob'].seed})" in by_name["bob"].results[0].replay
    before = (tmp_path / "out/records/ada.json").stat().st_mtime_ns
    grade(paths, tmp_path / "out", jobs=1, say=str, setting=setting(None, None, roster, "new"))
    assert read(tmp_path / "out/records", "ada").seed == variant("new", "ada")
    assert (tmp_path / "out/records/ada.json").stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name\nada\n", "a heading with the word student"),
        ("", "a heading"),
        ("student\nada\nada\n", "twice"),
        ("student,submission\nada,x.zip\nbob,x.ipynb\n", "twice"),
        ("student,submission\n,x\n", "a line without a student"),
        ("student,submission\nada,x\nada,y\n", "ada stands there twice"),
        ('student\n"Ash, Ada"\nAsh  Ada\n', "'Ash, Ada' and 'Ash  Ada' would have the same files"),
    ],
)
def test_what_is_wrong_with_a_roster_is_said(tmp_path, text, words):
    path = tmp_path / "roster.csv"
    path.write_text(text)
    with pytest.raises(CourseError, match=words):
        read_roster(path)


def test_a_stranger_does_not_get_a_students_name():
    """Who is not on the roster may call a file as a student is called."""
    handed_in = [Submission("Ash, Ada"), Submission("ex1")]
    roll = named(on_roster(handed_in, {"ex1": "Ash, Ada", "bob": "bob"}))
    assert [each.name for each in roll] == ["Ash, Ada", "Ash, Ada-2", "bob"]
    assert [each.problems for each in roll] == [
        [], ["Ash, Ada is not on the roster"], ["nothing was handed in"],
    ]  # fmt: skip


def test_every_name_has_a_file_of_its_own(tmp_path):
    """Of any characters, and as long as the name of a file may be."""
    names = [
        "a b",
        "a_b",
        "a\x1b[31mb",
        "\udcff",
        "x" * 250,
        "x" * 249 + "y",
        "\U00020000" * 63,
        "",
    ]
    roll = named([Submission(name) for name in names])
    files = {file_name(each.name) for each in roll}
    assert len(files) == len(names)
    for each in roll:
        assert each.name.isprintable()
        (tmp_path / f".{file_name(each.name)}.json.new").touch()


# ---- a private folder ----------------------------------------------------------------------------


@pytest.fixture
def private(tmp_path):
    """commit.1 with another title and function, and commit.9."""
    folder = tmp_path / "private"
    for name in ("commit.1", "commit.9"):
        home = exercise.folder_of(name, folder)
        shutil.copytree(exercise.EXERCISES / "commit_1", home)
        for file in ("exercise.toml", "cell.py"):
            text = (home / file).read_text().replace("commit.1", name)
            text = text.replace("The coordinator's rule", "Our own rule")
            (home / file).write_text(re.sub(r"\bdecide\b", "judge", text))
        exercise.admit(name, [p.title for p in COMMIT.properties], folder)
    exercise.load.cache_clear()
    return folder


def test_a_private_folder_adds_and_replaces(private, tmp_path, borrowed):
    known = library(private)
    assert set(known) == {*exercise.ids(), "commit.9"}
    assert known["commit.1"].about.function == "judge"
    assert known["ring.1"].folder == exercise.EXERCISES / "ring_1"
    path = tmp_path / "ada.ipynb"
    path.write_text(notebook(known["commit.9"].reference, COMMIT.reference))
    plan = setting(None, private)
    records = grade([path], tmp_path / "out", 1, jobs=1, say=str, setting=plan)
    earned = {name: sum(r.earned for r in records[0].of(name)) for name in records[0].exercises}
    assert earned["commit.1"] == 0, "she has solved the public one"
    assert earned["commit.9"] == sum(earned.values()) == 3
    assert records[0].titles["commit.9"] == "Our own rule"


def test_a_folder_without_a_proved_exercise_is_an_error(tmp_path):
    with pytest.raises(ExerciseError, match="labkit new-exercise NAME --exercises"):
        library(tmp_path)


def test_a_private_exercise_is_made_and_replayed_there(tmp_path, private):
    words = ["--notebook", "02_ring_all_reduce", "--exercises", tmp_path / "mine"]
    result = run("new-exercise", "own.1", *words)
    assert result.exit_code == 1, result.output
    assert (tmp_path / "mine" / "own_1" / "cell.py").exists()
    assert not exercise.folder_of("own.1").exists()
    shown = run("replay", "5", "commit.9", "--exercises", private)
    assert shown.exit_code == 0
    assert 'check("commit.9", judge, seed=5)' in shown.output


def test_the_class_page_counts_and_shows_the_most_frequent_mistake(tmp_path, borrowed):
    twice = COMMIT.mutated(COMMIT.mutants["counts votes and not voters"])
    for name in ("ada", "bob"):
        (tmp_path / f"{name}.ipynb").write_text(notebook(twice))
    (tmp_path / "cyd.ipynb").write_text(notebook(COMMIT.reference))
    out = tmp_path / "out"
    paths = sorted(tmp_path.glob("*.ipynb"))
    result = run("grade", *paths, "--out", out, "--seed", "5", "--jobs", "1")
    assert result.exit_code == 0, result.output
    page = re.sub(r"<[^>]*>", "", (out / "class.html").read_text())
    assert "1 of 3" in page
    assert "counts votes and not voters (2×)" in page
    assert json.loads((out / "seed.json").read_text()) == {"seed": 5}
    assert course.SEEDS == 10**9
