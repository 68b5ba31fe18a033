"""Notebook 00 in a browser, its own cells: a rank is killed and brought back with the buttons."""

from __future__ import annotations

import re
from typing import Any

import nbformat
from playwright.sync_api import expect

from .pages import Lab, Notebook, Open


def test_kill_rank_2_and_bring_it_back(lab: Lab, notebook: Open) -> None:
    book = notebook(lab.take("00"))
    at, row = with_its_panel(book)
    panel = book.panel

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

    (closes,) = book.code(at + 1, at + 3)  # the notebook's next cell closes this cluster
    book.run(closes)
    book.done(closes)
    book.cell(at).locator(".jp-RenderedImage img").wait_for()
    assert book.panel.count() == 0, "the picture has taken the panel's place"


def test_many_faults_at_once_have_room(lab: Lab, notebook: Open) -> None:
    """Words keep apart while the diagram scrolls; no state of the table makes it too wide."""
    book = notebook(lab.take("00"))
    _, row = with_its_panel(book)
    panel = book.panel
    for name in ("slow rank 0", "cut off rank 3", "heal all", "pause rank 1", "resume rank 1"):
        panel.get_by_role("button", name=name).first.click()
        waits = "the others wait" if name in ("cut off rank 3", "pause rank 1") else ""
        expect(panel.locator(".said")).to_contain_text(waits)
    row.get_by_role("button", name="kill rank 2").click()
    panel.locator('.mark.death[data-rank="2"]').wait_for(state="attached")
    row.get_by_role("button", name="restart rank 2").click()
    panel.locator('.mark.start[data-rank="2"]').wait_for(state="attached")
    assert book.overlapping_words(seconds=2) == []
    assert panel.locator("svg.events .word:visible").count() >= 4
    panel.get_by_role("button", name="slow rank 0").click()
    expect(panel.locator('tr[data-rank="0"] [data-cell="state"]')).to_contain_text("slow")
    book.keep("live-panel-many-faults")
    assert panel.evaluate(TOO_WIDE) == []


AFTERWARDS = """
from labkit import Cluster
from labkit.training import train
cluster = Cluster(2)
cluster.panel()
"""


def test_a_page_that_is_loaded_again_shows_what_has_been(notebook: Open) -> None:
    run = "cluster.run(train, steps=30).wait();"
    book = notebook("again.ipynb", AFTERWARDS, run, "cluster.run(train, steps=100_000);")
    for i in range(2):
        book.run(i)
        book.done(i)
    picture = book.panel.locator("img.picture")
    expect(picture).to_be_visible()
    kept = book.cell(0).locator(".jp-RenderedImage img")
    expect(kept).to_have_count(1)
    expect(kept).to_be_hidden()  # the panel shows it; the file keeps it for a page without kernel
    book.page.keyboard.press("Control+s")
    book.page.locator('.lm-TabBar-tab:has-text("again.ipynb"):not(.jp-mod-dirty)').wait_for()
    outputs = nbformat.read(book.path, 4).cells[0].outputs
    assert "image/png" in outputs[1]["data"]

    book.page.reload()
    expect(book.panel.locator(".run")).to_have_text("run 1: train")
    expect(picture).to_be_visible()
    book.run(2)
    book.done(2)
    expect(book.panel.locator(".run")).to_have_text("run 2: train")
    expect(picture).to_be_hidden()


def test_a_kernel_that_is_gone_is_said_to_be(notebook: Open) -> None:
    book = notebook("gone.ipynb", AFTERWARDS, "import os; os._exit(1)")
    book.run(0)
    book.done(0)
    said = book.panel.locator(".said")
    expect(said).to_have_text("")
    book.run(1)
    expect(said).to_contain_text("Nothing is heard of this notebook's kernel")


TOO_WIDE = """panel => {
    const copy = panel.parentNode.appendChild(panel.cloneNode(true));
    const longest = { state: "○ restarting", step: "100000", view: "100", heard: "99.9 s ago",
        "term / leader": "100 / ★ itself", memory: "10000 MB", GPU: "10000 MB",
        pause: "resume", slow: "full speed", "cut off": "heal all" };
    for (const [name, text] of Object.entries(longest)) {
        const some = copy.querySelectorAll(`td[data-cell="${name}"], td [data-act="${name}"]`);
        for (const node of some) node.textContent = text;
    }
    const wide = [];
    for (const present of [false, true]) {
        copy.classList.toggle("present", present);
        for (const gpu of [false, true]) {
            copy.querySelector("table").classList.toggle("no-gpu", !gpu);
            for (let em = 34; em <= 100; em += 1) {
                copy.style.width = `${em}em`;
                if (copy.scrollWidth > copy.clientWidth) wide.push({ em, present, gpu });
            }
        }
    }
    copy.remove();
    return wide;
}"""
"""The widths at which the table leaves the panel when each of its cells says the longest."""


def with_its_panel(book: Notebook) -> tuple[int, Any]:
    """Runs the notebook's cells up to the panel; where that is, and the row of rank 2 in a run."""
    at = book.find("cluster.panel()")
    for i in book.code(0, at + 1):
        book.run(i)
    book.done(at)
    book.panel.locator("xpath=self::*[@data-run='2']").wait_for()  # the first was the calm one
    row = book.panel.locator('tr[data-rank="2"]')
    expect(row.locator('[data-cell="state"]')).to_contain_text("ready")
    expect(row.locator('[data-cell="step"]')).to_have_text(re.compile(r"^\d+$"))
    return at, row
