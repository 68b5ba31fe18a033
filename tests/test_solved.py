"""`progress()`: what was found right is remembered beside the notebooks, and drawn."""

import json
import re
import subprocess
import sys

import pytest

from labkit.check import check
from labkit.grading import exercise
from labkit.notebooks import NOTEBOOKS
from labkit.progress import FILE, progress, remember, remembered, row

WHY = exercise.read("why.1")


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch):
    monkeypatch.delenv("LABKIT_PROGRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def marks(figure):
    found = [patch.get_gid() for axes in figure.axes for patch in axes.patches]
    return dict(gid.split(":") for gid in found)


def test_only_a_right_answer_is_remembered(desk, capsys):
    for source in (WHY.skeleton, WHY.mutated(WHY.mutants["answers in days"])):
        check("why.1", WHY.define(source))
    assert list(desk.iterdir()) == []
    assert set(marks(progress()).values()) == {"open"}
    check("why.1", WHY.define(WHY.reference))
    assert json.loads((desk / FILE).read_text()) == ["why.1"]
    check("why.1", WHY.define(WHY.skeleton))  # a later try takes nothing away
    shown = marks(progress())
    assert set(shown) == set(exercise.ids())
    assert [name for name, state in shown.items() if state == "solved"] == ["why.1"]
    assert "why.1 is right" in capsys.readouterr().out


def test_another_kernel_knows(desk):
    remember("ring.1")
    code = (
        "from labkit.progress import remembered, remember; remember('why.1'); print(remembered())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ring.1" in said.stdout
    assert remembered() == {"ring.1", "why.1"}
    assert [path.name for path in desk.iterdir()] == [FILE]


@pytest.mark.parametrize("content", ["{", "7", "[1, [2]]", "\udc80"])
def test_a_broken_file_is_no_obstacle(desk, content):
    (desk / FILE).write_text(content, errors="surrogateescape")
    assert remembered() == set()
    remember("why.1")
    assert remembered() == {"why.1"}


def test_where_nothing_can_be_written_the_check_counts_all_the_same(desk, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_PROGRESS", str(desk / "no" / "such" / "folder"))
    check("why.1", WHY.define(WHY.reference))
    assert "why.1 is right" in capsys.readouterr().out
    assert remembered() == set()


def test_the_picture_is_small(desk):
    assert len(progress().png()) < 60_000


def test_rows_have_the_titles_of_the_notebooks():
    texts = [text.get_text() for axes in progress().axes for text in axes.texts]
    headings = [
        re.search(r"^# # (.*)$", path.read_text(), re.MULTILINE)[1]
        for path in sorted((NOTEBOOKS / "src").glob("[0-9]*.py"))
    ]
    assert [text for text in texts if text[:2].isdigit() and text[2] == " "] == headings
    assert "02 Ring all-reduce" in headings
    assert row("19_not_written_yet") == "19_not_written_yet"
