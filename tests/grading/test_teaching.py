"""The page for teachers and its workflow files: they name commands and options that there are."""

import re
import subprocess
from pathlib import Path

import pytest
import typer.main
import yaml

from labkit.cli import app
from labkit.grading import exercise
from labkit.grading.levels import GAPS
from labkit.notebooks import NOTEBOOKS

TEACHING = Path(__file__).parents[2] / "docs" / "teaching"
FILES = sorted(path for path in TEACHING.rglob("*") if path.is_file())
COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_option_that_is_named_exists(path):
    text = path.read_text().replace("\\\n", " ")
    if path.suffix == ".yml":
        text = re.sub(r"\n\s+(?=--)", " ", text)
    calls = re.findall(r"labkit ([a-z-]+)([^\n`]*)", text)
    for name, rest in calls:
        if name not in COMMANDS:
            assert name == "bench", name
            continue
        known = {option for p in COMMANDS[name].params for option in p.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, (name, rest)
    if "run_autograder" in path.name or path.suffix == ".yml":
        assert [name for name, _ in calls] == ["grade"]


@pytest.mark.parametrize("path", sorted(TEACHING.rglob("*.yml")), ids=lambda path: path.name)
def test_a_workflow_can_be_read(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("path", sorted(TEACHING.rglob("*.yml")), ids=lambda path: path.name)
def test_one_student_is_graded_with_a_roster_of_one(path, tmp_path):
    """Else whoever is not graded today has handed in nothing, and is below the pass mark."""
    (tmp_path / "teacher").mkdir()
    for folder in (tmp_path, tmp_path / "teacher"):
        rows = "student,submission\nAda Ash,lab-ada\nBob Birch,lab-bob\nCyd,lab-ada-2\n"
        (folder / "roster.csv").write_text(rows)
    (line,) = [text for text in path.read_text().splitlines() if text.endswith("> one.csv")]
    command = ["bash", "-euo", "pipefail", "-c", line.strip().removeprefix("- ")]
    for name, status in (("lab-ada", 0), ("lab-cyd", 1)):
        environment = {"NAME": name, "PATH": "/usr/bin:/bin"}
        assert subprocess.run(command, cwd=tmp_path, env=environment).returncode == status
    subprocess.run(command, cwd=tmp_path, env={"NAME": "lab-bob", "PATH": "/usr/bin:/bin"})
    assert (tmp_path / "one.csv").read_text() == "student,submission\nBob Birch,lab-bob\n"


@pytest.mark.parametrize("path", sorted((TEACHING / "workflows/gradescope").iterdir()))
def test_a_script_can_be_read(path):
    subprocess.run(["bash", "-n", path], check=True)
    assert path.stat().st_mode & 0o111


def test_the_page_has_the_whole_table_of_gaps():
    page = (TEACHING / "README.md").read_text()
    rows = [f"| {gap.attempt} | {gap.namespace} | {gap.rlimit} |" for gap in GAPS]
    assert "\n".join(rows) in page


def test_the_page_names_the_exercises_that_have_several_bugs():
    page = (TEACHING / "README.md").read_text()
    told = re.search(r"cells of (.*?) and your own", page, re.S)[1].replace("\n", " ")
    bugs = {name: len(exercise.load(name).given) for name in exercise.ids()}
    assert sorted(re.findall(r"[a-z]+\.\d", told)) == [
        name for name, count in bugs.items() if count
    ]
    assert {count for count in bugs.values() if count} == {3, 4, 5}, "each has three to five"


def test_the_page_tells_minutes_and_points_as_the_notebooks_do():
    page = (TEACHING / "README.md").read_text()
    books = {}
    for graded in map(exercise.load, exercise.ids()):
        books.setdefault(graded.about.notebook, []).append(graded)
    total = [0, 0, 0]
    for stem, those in sorted(books.items()):
        source = (NOTEBOOKS / "src" / f"{stem}.py").read_text()
        title = re.search(r"^# # (.*)$", source, re.M)[1]
        to_read = int(re.search(r"\*\*Time\*\* (\d+) minutes", source)[1])
        exercises = ", ".join(f"{graded.id} ({graded.points})" for graded in those)
        minutes = sum(graded.about.minutes for graded in those)
        points = sum(graded.points for graded in those)
        assert f"| {title} | {to_read} | {exercises} | {minutes} | {points} |" in page
        total = [a + b for a, b in zip(total, (to_read, minutes, points), strict=True)]
    count = len(exercise.ids())
    assert f"| all | {total[0]} | {count} | {total[1]} | {total[2]} |" in page


def test_links_lead_somewhere():
    page = (TEACHING / "README.md").read_text()
    for target in re.findall(r"\]\(([^)]+)\)", page):
        assert (TEACHING / target).exists(), target
