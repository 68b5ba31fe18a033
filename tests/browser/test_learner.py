"""The way of a learner through one exercise: not done yet, a known mistake, right."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from .pages import ROOT, Lab, Open


def answer() -> str:
    """The exercise's own solution, as a learner would write it."""
    cell = (ROOT / "labkit/grading/exercises/ring_1/cell.py").read_text()
    lines = [line for line in cell.splitlines() if "###" not in line and "raise " not in line]
    return "\n".join(lines)


def test_from_not_done_yet_to_a_green_check(lab: Lab, notebook: Open) -> None:
    book = notebook(lab.take("02"))
    stub = book.find("# exercise: ring.1")
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
