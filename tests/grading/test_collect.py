"""Which cells are taken from what students hand in."""

import json
import zipfile

import pytest
from handed_in import notebook

from labkit.grading.collect import MOST_SOURCE, collect

KNOWN = ["commit.1", "ring.1"]
FIRST, SECOND = "# exercise: commit.1\na = 1", "#exercise ring.1  \nb = 2"


def test_only_marked_code_cells_are_taken(tmp_path):
    cells = json.loads(notebook("c = 3", FIRST, "\n" + SECOND, "x = 1\n# exercise: ring.1"))
    text = {"cell_type": "markdown", "source": "# exercise: ring.1\nnot code"}
    cells["cells"].append(text)
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(cells))
    found = collect(path, KNOWN)
    assert found.cells == {"commit.1": FIRST, "ring.1": "\n" + SECOND}
    assert found.problems == []


def test_of_several_cells_the_last_counts_and_that_is_said(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text(notebook(FIRST, FIRST + "0"))
    found = collect(path, KNOWN)
    assert found.cells["commit.1"] == FIRST + "0"
    assert found.problems == ["commit.1 has several cells: the last one counts"]


def test_folders_and_zips_are_read_alike(tmp_path):
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "one.ipynb").write_text(notebook(FIRST))
    (folder / "sub" / "two.ipynb").write_text(notebook(SECOND))
    (folder / "broken.ipynb").write_text("{")
    (folder / ".ipynb_checkpoints" / "one.ipynb").write_text(notebook(FIRST + "old"))
    (folder / "notes.txt").write_text(FIRST)
    path = tmp_path / "work.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    for found in (collect(folder, KNOWN), collect(path, KNOWN)):
        assert found.cells == {"commit.1": FIRST, "ring.1": SECOND}
        assert found.problems == ["broken.ipynb: it is no notebook: its JSON is broken"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.ipynb", b"", "broken"),
        ("a.ipynb", b"\xff\xfe", "broken"),
        ("a.ipynb", b"[]", "no cells"),
        ("a.ipynb", b'{"cells": {}}', "no cells"),
        ("a.py", b"x = 1", "no notebook"),
        ("a.zip", b"PK\x05\x06" + bytes(17), "no zip"),
        ("a.ipynb", notebook("# exercise: no.9").encode(), "no exercise no.9"),
        ("a.ipynb", notebook(FIRST + "x" * MOST_SOURCE).encode(), "too long"),
    ],
)
def test_what_cannot_be_taken_is_a_sentence(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    found = collect(path, KNOWN)
    assert found.cells == {}
    assert len(found.problems) == 1
    assert said in found.problems[0]


def test_an_empty_folder_and_a_missing_one(tmp_path):
    assert "no notebook" in collect(tmp_path, KNOWN).problems[0]
    with pytest.raises(FileNotFoundError, match="no submission"):
        collect(tmp_path / "nobody", KNOWN)
