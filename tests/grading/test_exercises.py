"""The grader is graded: stubs earn nothing, solutions all, and every mutant has its killer."""

import re
import shutil

import pytest
from handed_in import notebook

from labkit import check
from labkit.grading import exercise, new
from labkit.grading.exercise import ExerciseError
from labkit.grading.grade import grade
from labkit.grading.prove import complaints
from labkit.grading.record import Verdict
from labkit.notebooks import NOTEBOOKS
from labkit.notebooks.source import read, with_solutions

IDS = exercise.ids()


@pytest.mark.parametrize("name", IDS)
def test_an_exercise_is_proved(best, name):
    """The stub 0, the reference full marks, each mutant caught by the property that it names, and
    no constant answer earns anything."""
    assert list(complaints(exercise.load(name), lambda: best)) == []


def test_the_manifest_names_every_folder():
    folders = {path.parent.name for path in exercise.EXERCISES.glob("*/exercise.toml")}
    assert folders == {name.replace(".", "_") for name in IDS}


@pytest.mark.parametrize(
    "source", sorted((NOTEBOOKS / "src").glob("[0-9]*.py")), ids=lambda path: path.stem
)
def test_a_notebook_has_three_exercises_and_protocols_are_attacked_first(source):
    """The first two notebooks have two or more; nobody writes handlers of a protocol blind."""
    text = source.read_text()
    here = re.findall(r'^# %% exercise="(.*)"$', text, re.MULTILINE)
    assert len(here) >= (2 if source.name[:2] in ("00", "01") else 3)
    assert sorted(here) == sorted(n for n in IDS if exercise.load(n).about.notebook == source.stem)
    if source.name[:2] in ("07", "09", "10"):
        assert [exercise.load(name).about.kind for name in here[:2]] == ["attack", "find"]


@pytest.mark.parametrize("name", IDS)
def test_the_notebook_has_the_cell_and_the_heading(name):
    graded = exercise.load(name)
    source = NOTEBOOKS / "src" / f"{graded.about.notebook}.py"
    cells = [cell.source for cell in read(source).cells]
    place = cells.index(graded.skeleton)
    assert f'check("{name}", {graded.about.function})' in cells[place + 1]
    above = "\n".join(cells[max(0, place - 2) : place])  # an example may stand between
    assert f"### {graded.heading}" in above
    solved = [with_solutions(cell.source) for cell in read(source, solutions=True).cells]
    assert graded.reference in solved


@pytest.mark.parametrize("name", IDS)
def test_the_notebooks_check_says_the_same(name):
    graded = exercise.load(name)
    assert check.judge(name, graded.define(graded.reference)).passed is True
    undone = False if graded.about.kind == "find" else None
    assert check.judge(name, graded.define(graded.skeleton)).passed is undone
    for mutant in graded.mutants.values():
        verdict = check.judge(name, graded.define(graded.mutated(mutant)))
        assert verdict.passed is False
        assert mutant.sentence in verdict.sentence


@pytest.fixture
def own(tmp_path):
    """A copy of an exercise, to be spoiled."""
    shutil.copytree(exercise.EXERCISES / "commit_1", tmp_path / "commit_1")
    return tmp_path


def spoil(own, file, old, new):
    path = own / "commit_1" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_property_that_goes_missing_is_an_error(own):
    exercise.admit("commit.1", [p.title for p in exercise.read("commit.1").properties], own)
    exercise.load("commit.1", own)
    last = '"after the deadline silence aborts, before it waits"'
    prop = f"    Property(\n        {last}, draw_late, cases=40, trial=trial\n    ),\n"
    spoil(own, "checks.py", prop, "")
    with pytest.raises(ExerciseError, match="points for other properties"):
        exercise.read("commit.1", own)
    spoil(own, "exercise.toml", f"{last} = 1\n", "")
    spoil(own, "mutants.toml", last, '"a yes of each commits, a single no aborts"')
    exercise.read("commit.1", own)
    exercise.load.cache_clear()
    with pytest.raises(ExerciseError, match="the manifest says"):
        exercise.load("commit.1", own)


def test_an_exercise_that_lets_a_mutant_live_is_not_admitted(own, best):
    spoil(own, "checks.py", "votes + extra", "votes")
    outcome = new.begin_or_admit("commit.1", "", lambda: best, own)
    assert not outcome.admitted
    assert exercise.ids(own) == []
    said = "\n".join(outcome.sentences)
    assert "mutant 'counts votes and not voters' gives PASS" in said
    assert "mutant 'hears strangers' gives PASS" in said


def test_a_new_exercise_begins_with_what_is_missing(tmp_path, best):
    outcome = new.begin_or_admit("made.1", "02_ring_all_reduce", lambda: best, tmp_path)
    assert not outcome.admitted
    outcome = new.begin_or_admit("made.1", "", lambda: best, tmp_path)
    assert outcome.sentences[0] == "made.1 has 1 mutant; it needs 3"
    with pytest.raises(ExerciseError, match=r"like ring\.1"):
        new.begin_or_admit("../made", "02_ring_all_reduce", lambda: best, tmp_path)
    with pytest.raises(ExerciseError, match="--notebook 00_a_cluster_in_your_notebook or 01_"):
        new.begin_or_admit("made.2", "07_x", lambda: best, tmp_path)


def test_a_learners_notebook_earns_what_is_in_it(tmp_path, borrowed):
    """The built notebook, unsolved, and with one exercise of it solved."""
    path = NOTEBOOKS / "07_two_phase_commit.ipynb"
    graded = exercise.load("commit.1")
    solved = tmp_path / "solved.ipynb"
    solved.write_text(notebook("import this_is_not_taken", graded.reference))
    records = grade([path, solved], tmp_path / "out", seed=1, jobs=1, say=lambda text: None)
    assert [r.earned for r in records] == [0, graded.points]
    assert {r.verdict for r in records[0].results} == {Verdict.FAIL}
