"""Notebook 00 in a browser: a rank is killed and brought back with the panel's buttons."""

from __future__ import annotations

import re

import nbformat
from pages import ROOT, Lab, Open
from playwright.sync_api import expect

PANEL = "cluster.panel()"
TRAIN = "run = await cluster.run(train_digits, steps=100_000, elastic=True)"


def with_a_panel(lab: Lab) -> tuple[str, int]:
    """A copy of notebook 00 up to its first cluster, with the panel next; and where that stands."""
    (path,) = (ROOT / "notebooks").glob("00_*.ipynb")
    book = nbformat.read(path, 4)
    at = next(i for i, c in enumerate(book.cells) if "cluster = Cluster(" in c.source) + 1
    cells = [nbformat.v4.new_code_cell(text) for text in (PANEL, TRAIN, "cluster.close()")]
    book.cells = [*book.cells[:at], *cells]
    nbformat.write(book, lab.folder / path.name)
    return path.name, at


def test_kill_rank_2_and_bring_it_back(lab: Lab, notebook: Open) -> None:
    name, at = with_a_panel(lab)
    book = notebook(name)
    for i in range(at):
        book.run(i)
    book.done(at - 1)
    book.run(at)
    panel = book.panel
    panel.wait_for()
    expect(panel.locator('tr[data-rank="2"] [data-cell="state"]')).to_contain_text("ready")
    book.run(at + 1)
    panel.locator("xpath=self::*[@data-run]").wait_for()
    row = panel.locator('tr[data-rank="2"]')
    expect(row.locator('[data-cell="step"]')).to_have_text(re.compile(r"^\d+$"))

    row.get_by_role("button", name="kill rank 2").click()

    panel.locator('.mark.death[data-rank="2"]').wait_for(state="attached")
    view = panel.locator(".viewname", has_text="{0,1,3}")
    view.wait_for(state="attached")
    number = view.get_attribute("data-view")
    for rank in (0, 1, 3):
        mark = panel.locator(f'.mark.view[data-rank="{rank}"][data-number="{number}"]')
        mark.wait_for(state="attached")
    assert panel.locator(f'.mark.view[data-rank="2"][data-number="{number}"]').count() == 0
    expect(row).to_have_attribute("data-state", "dead")
    expect(panel.locator("pre.code")).to_contain_text("cluster.kill(2)")
    book.keep("live-panel-kill")

    restart = row.get_by_role("button", name="restart rank 2")
    restart.focus()
    restart.press("Enter")

    panel.locator(".viewname", has_text="{0,1,2,3}").first.wait_for(state="attached")
    expect(row).to_have_attribute("data-life", "1")
    expect(row).to_have_attribute("data-state", "ready")
    panel.locator('.mark.start[data-rank="2"]').wait_for(state="attached")
    book.keep("live-panel-restart")

    panel.locator("svg.events").focus()
    book.page.keyboard.press("ArrowLeft")
    book.page.keyboard.press("Enter")
    expect(panel.locator(".said")).to_contain_text("recorded at labkit/")
    book.dark()
    book.keep("live-panel-dark")

    book.interrupt()
    book.done(at + 1)
    book.run(at + 2)
    book.done(at + 2)
    book.cell(at).locator(".jp-RenderedImage img").wait_for()
    assert book.panel.count() == 0, "the picture has taken the panel's place"
