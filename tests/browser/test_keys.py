"""Keys that are meant for the panel do nothing to the notebook around it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .pages import Open

SIMULATION = """
from labkit.protocols.raft import Raft
from labkit.simulator.simulation import Simulation
Simulation(Raft, n=3, seed=5).panel()
"""


PLACES = {"diagram": "svg.events", "button": 'button[data-act="step"]', "code": "pre.code"}


@pytest.mark.parametrize("place", PLACES)
def test_d_d_in_the_panel_deletes_no_cell(notebook: Open, place: str) -> None:
    book = notebook(f"keys-{place}.ipynb", SIMULATION, "'the next'")
    book.run(0)
    book.done(0)
    book.panel.locator('button[data-act="step"]').click()  # and the code of the click appears
    focused = book.panel.locator(PLACES[place])
    for key in ("d", "d", "x", "m", "b", "Shift+M"):  # delete, cut, to Markdown, one more, merge
        focused.press(key)
    focused.press("Control+Enter")  # passes: whatever the others did was done before this is
    book.ran(0, 2)
    expect(book.page.locator(".jp-Notebook .jp-CodeCell")).to_have_count(2)
    expect(book.page.locator(".jp-Notebook .jp-Cell")).to_have_count(2)
