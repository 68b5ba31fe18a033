"""The way of a learner through one exercise: not done yet, a known mistake, right."""

from __future__ import annotations

import re
import shutil

import nbformat
from pages import ROOT, Lab, Open
from playwright.sync_api import expect

NAME = "02_ring_all_reduce.ipynb"


def answer() -> str:
    """The exercise's own solution, as a learner would write it."""
    cell = (ROOT / "labkit/grading/exercises/ring_1/cell.py").read_text()
    lines = [line for line in cell.splitlines() if "###" not in line and "raise " not in line]
    return "\n".join(lines)


def test_from_not_done_yet_to_a_green_check(lab: Lab, notebook: Open) -> None:
    shutil.copy(ROOT / "notebooks" / NAME, lab.folder / NAME)
    cells = nbformat.read(lab.folder / NAME, 4).cells
    stub = next(i for i, cell in enumerate(cells) if "# exercise: ring.1" in cell.source)
    book = notebook(NAME)
    book.cell(stub).scroll_into_view_if_needed()
    book.run(stub)
    book.run(stub + 1)
    expect(book.done(stub + 1)).to_contain_text("ring.1: not done yet")

    wrong = answer().replace("link.rank - step - 1", "link.rank - step", 1)
    for text, verdict in ((wrong, r"ring\.1: (?!not done)"), (answer(), r"ring\.1 is right")):
        book.write(stub, text)
        book.run(stub)
        book.run(stub + 1)
        expect(book.cell(stub + 1).locator(".jp-OutputArea")).to_contain_text(re.compile(verdict))
    book.keep("learner")
