"""What students are handed out: it works, and nothing in it is a solution."""

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from labkit.grading import exercise, hidden
from labkit.grading.course import library
from labkit.grading.hidden import without_hidden
from labkit.grading.prove import holds
from labkit.grading.release import release, zipped

OWN = '''# exercise: why.1
def job_mtbf(gpus, failures_per_node_day):
    """Our own."""
    ### BEGIN SOLUTION
    return 24 / ((gpus // 8) * failures_per_node_day)
    ### END SOLUTION
    raise NotImplementedError("exercise why.1: ours")
'''


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    """With a private why.1, and a private why.9 for which no notebook has a place."""
    folder = tmp_path_factory.mktemp("release")
    for name in ("why.1", "why.9"):
        home = exercise.folder_of(name, folder / "private")
        home.mkdir(parents=True)
        for file in ("exercise.toml", "checks.py", "mutants.toml"):
            (home / file).write_text((exercise.EXERCISES / "why_1" / file).read_text())
        (home / "cell.py").write_text(OWN.replace("why.1", name))
        text = (home / "mutants.toml").read_text()
        (home / "mutants.toml").write_text(text.replace("gpus / 8", "(gpus // 8)"))
        exercise.admit(name, list(exercise.load("why.1").about.points), folder / "private")
    paths = release(folder / "lab", folder / "private")
    return paths, library(folder / "private")


def squeezed(text):
    return re.sub(r"\s+", " ", text)


def solution(graded):
    """The lines between the markers, as they stand in any file; the whole cell, where there are
    none, since a bug is to be found in it."""
    cell = (graded.folder / "cell.py").read_text()
    found = re.findall("BEGIN SOLUTION\n(.*?)### END SOLUTION", cell, re.S)
    return squeezed(" ".join(found or [cell.partition("\n")[2]]))


def test_nothing_in_it_is_a_solution_or_a_mutant(handed_out):
    (_, archive), known = handed_out
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        texts = {
            name: squeezed(opened.read(name).decode("utf-8", "replace"))
            for name in names
            if not name.endswith((".png", ".safetensors", ".npz", ".gz"))
        }
    assert len(texts) > 150
    assert not [n for n in names if n.endswith(("mutants.toml", ".pyc")) or "/src/" in n]
    assert not [n for n in names if "/tests/" in n or "/.git/" in n]
    checks = [n for n in names if "/labkit/checks/" in n]
    assert [Path(name).name for name in checks] == ["__init__.py"]
    sold = {f"public {name}": solution(exercise.load(name)) for name in exercise.ids()}
    sold |= {graded.id: solution(graded) for graded in known.values()}
    told = [m for graded in known.values() for m in graded.mutants.values()]
    for name, text in texts.items():
        plain = text.replace('\\n",', "").replace(' "', " ").replace('\\"', '"')  # of a notebook
        for id, lines in sold.items():
            assert lines not in text, (id, name)
            assert lines not in squeezed(plain), (id, name)
        for mutant in told:  # its sentence may be a property's title, which everybody reads
            assert f'killed_by = "{mutant.killed_by}"' not in text, (mutant.name, name)


def variants(function):
    """As an answer, and in the forms that an answer may have."""
    return function, *(lambda *a, form=form: form(function(*a)) for form in (sorted, list, tuple))


@pytest.mark.parametrize("name", exercise.ids())
def test_no_function_of_a_handed_out_check_is_an_answer(handed_out, name):
    """A check may have to work out what is right; then it is hidden, or tells it."""
    (folder, _), _ = handed_out
    graded = exercise.load(name)
    there = exercise.folder_of(name, folder / "labkit/grading/exercises") / "checks.py"
    bodies = {
        part.name: ast.unparse(part.body)
        for part in ast.parse(there.read_text()).body
        if isinstance(part, ast.FunctionDef)
    }
    module = vars(sys.modules[f"labkit_checks_{graded.folder.name}"])
    for made in [module[title] for title, body in bodies.items() if body != "..."]:
        for answer in variants(made):
            for prop in graded.properties:
                try:
                    right = holds(graded, prop, answer, 1)
                except Exception:  # most cannot be called like this
                    right = False
                assert not right, made.__name__


def test_what_is_hidden_is_not_there_and_known_all_the_same(handed_out, tmp_path):
    (folder, _), _ = handed_out
    exercises = folder / "labkit/grading/exercises"
    for name, function in (("cluster.2", "past"), ("elastic.4", "play"), ("hb.5", "best")):
        there = exercise.folder_of(name, exercises)
        assert f"@hidden\ndef {function}(" in (there / "checks.py").read_text()
        known = hidden.handed_out(there)
        assert not [key for key in known if key.startswith("before/")]  # but for the outermost
        assert [key for key in known if "/" in key]
    text = without_hidden('@hidden\ndef f(\n    a,\n):\n    """Says."""\n    return a\n\n\nB = 1\n')
    assert text == "@hidden\ndef f(\n    a,\n):\n    ...\n\n\nB = 1\n"


def test_folder_and_zip_are_the_same_and_nothing_is_overwritten(handed_out, tmp_path):
    (folder, archive), _ = handed_out
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            assert opened.read(name) == (folder.parent / name).read_bytes()
    zipped(folder, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    for taken in (folder, folder.with_name("new")):
        archive.with_name("new.zip").touch()
        with pytest.raises(FileExistsError, match="is there already"):
            release(taken)


def test_the_check_of_a_students_copy_tells_right_from_wrong(handed_out):
    (folder, _), known = handed_out
    code = f"""
from labkit.check import check, hint
from labkit.grading.course import library
names = {{}}
exec({known["ring.1"].reference!r}, names)
check("ring.1", names["my_reduce_scatter"])
check("ring.1", names["my_reduce_scatter"], seed=3)
check("why.9", lambda gpus, rate: 24 / (gpus // 8 * rate))
check("why.9", lambda gpus, rate: 1 / (gpus // 8 * rate))
hint("why.9")
try:
    library()
except Exception as error:
    print(error)
"""
    home = {**os.environ, "PYTHONPATH": str(folder), "MPLBACKEND": "agg"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=home, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if "Figure" not in line]
    assert lines[0] == "ring.1 is right: all 3 properties hold.", done.stderr
    assert lines[1] == "ring.1: this copy cannot say what is right for seed 3. Yours gives"
    drawn = lines[2 : lines.index("why.9 is right: 6 of 6 cases agree.")]
    titles = [prop.title for prop in known["ring.1"].properties]
    assert [line[:-1] for line in drawn if not line.startswith(" ")] == titles
    assert any(line.startswith("  my_reduce_scatter(") and " → " in line for line in drawn)
    lines = lines[2 + len(drawn) :]
    assert "should be" in lines[1]
    assert lines[2].startswith("why.9, hint 1 of 3")
    assert "nothing can be graded with it" in lines[3]


JUDGES = """
import json
import sys

from labkit import check
from labkit.grading import exercise

for name, source, wrong in json.load(sys.stdin):
    graded = exercise.load(name)
    verdicts = [check.judge(name, graded.define(cell)) for cell in (source, wrong)]
    told = verdicts[1].sentence
    wrong = next((p for p in graded.properties if p.title in told), graded.properties[0])
    check.drawn(wrong.picture, verdicts[1].cases, None)
    print(name, *(verdict.passed for verdict in verdicts))
"""


def test_every_check_of_a_students_copy_tells_right_from_wrong(handed_out):
    """Also where what was hidden is needed for drawing, comparing, or the picture."""
    (folder, _), known = handed_out
    cells = []
    for name in exercise.ids():
        graded = known[name]
        mutant = next(iter(graded.mutants.values()))
        cells.append((name, graded.reference, graded.mutated(mutant)))
    home = {**os.environ, "PYTHONPATH": str(folder), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", JUDGES],
        input=json.dumps(cells), cwd=folder, env=home, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [f"{name} True False" for name, _, _ in cells], done.stderr


@pytest.mark.parametrize(
    ("seed", "name", "says"),
    [
        ("5", "raft.3", "grants(term="),
        ("0", "cluster.2", "suspects(log="),
        ("5", "cluster.2", "only seed 0 can be drawn"),
    ],
)
def test_a_student_can_replay_what_was_drawn(handed_out, seed, name, says):
    (folder, _), _ = handed_out
    home = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "labkit.cli", "replay", seed, name]
    done = subprocess.run(command, cwd=folder, env=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert "→" not in done.stdout
    assert "told for seed 0 alone" in done.stdout


def test_private_exercises_stand_in_the_notebook(handed_out):
    (folder, _), known = handed_out
    path = folder / "notebooks" / "01_why_training_fails.ipynb"
    cells = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"]]
    assert cells.count(known["why.1"].skeleton) == 1
    assert '"""Our own."""' in known["why.1"].skeleton
    assert not [c for c in cells if c == exercise.load("why.1").skeleton]
    place = cells.index(known["why.1"].skeleton)
    assert 'check("why.1", job_mtbf)' in cells[place + 1]
    assert cells[place - 1].startswith("### Exercise why.1 (1 point")
    assert cells[-2] == known["why.9"].skeleton
    assert not [c for c in cells[place + 2 :] if 'check("why.1"' in c]
