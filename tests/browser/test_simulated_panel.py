"""A simulation in a browser: step by step, forth and back, and the fate of single messages."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from .pages import Open

SIMULATION = """
from labkit.protocols.raft import Raft
from labkit.simulator.simulation import Simulation
Simulation(Raft, n=3, seed=5).panel()
"""


def test_a_message_is_dropped_by_a_click_and_the_way_is_gone_back(notebook: Open) -> None:
    book = notebook("simulated.ipynb", SIMULATION)
    book.run(0)
    book.done(0)
    panel = book.panel
    taken = panel.locator(".run")
    step = panel.locator('button[data-act="step"]')
    for count in range(1, 12):
        step.click()
        expect(taken).to_have_attribute("data-taken", str(count))
        if panel.locator(".flights li").count():  # drawn with the number, the arrows a frame later
            break
    arrow = panel.locator(".message.flying").first
    number = arrow.get_attribute("data-number")
    arrow.locator(".target").dispatch_event("click")
    chosen = panel.locator(f'.flights li.chosen[data-number="{number}"]')
    book.keep("simulated-panel-step")
    chosen.locator('button[data-act="drop"]').click()
    panel.locator(".message.lost").first.wait_for(state="attached")
    expect(panel.locator(f'.message[data-number="{number}"]')).to_have_count(0)
    expect(panel.locator("pre.code")).to_contain_text(f"sim.drop({number})")

    panel.locator('button[data-act="back"]').click()
    expect(taken).to_have_attribute("data-taken", str(count - 1))
    step.click()  # and there it is again
    expect(taken).to_have_attribute("data-taken", str(count))  # before, a click means the old list
    panel.locator('.flights button[data-act="deliver"]').first.click()
    expect(panel.locator("pre.code")).to_contain_text("sim.deliver(")
    panel.locator('select[data-act="speed"]').select_option("1")
    panel.locator('button[data-act="play"]').click()
    leader = book.page.locator('[data-cell="role"]', has_text="leader")
    leader.first.wait_for()
    panel.locator('button[data-act="play"]').click()
    row = panel.locator("tr", has=leader).first
    rank = row.get_attribute("data-rank")
    row.get_by_role("button", name=re.compile("^kill")).click()
    panel.locator(f'.mark.death[data-rank="{rank}"]').wait_for(state="attached")
    book.keep("simulated-panel-kill")
    book.dark()
    book.keep("simulated-panel-dark")
