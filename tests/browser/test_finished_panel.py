"""A finished run in a browser: the slider says who knew what, a click which line recorded it."""

from __future__ import annotations

from playwright.sync_api import expect

from .pages import Open

RUN = """
from labkit import At, Cluster, FaultPlan, Kill
from labkit.training import train
with Cluster(3) as cluster:
    run = cluster.run(train, steps=30, on_loss="continue", faults=FaultPlan(At(Kill(2), step=10)))
    run.wait()
run.panel()
"""


def test_who_knew_what_at_the_time_of_a_death(notebook: Open) -> None:
    book = notebook("finished.ipynb", RUN)
    book.run(0)
    book.done(0)
    panel = book.panel
    cross = panel.locator('.mark.death[data-rank="2"]')
    cross.wait_for(state="attached")
    knows = panel.locator('[data-cell="knows"]')
    expect(knows.first).to_have_text("")
    seconds = float(cross.get_attribute("data-t") or 0)
    slider = panel.locator('input[type="range"]')
    slider.focus()
    total = float(panel.locator(".scrubber").get_attribute("data-seconds") or 0)
    slider.fill(str(round(1000 * seconds / total) + 1))
    expect(panel.locator('tr[data-rank="2"]')).to_have_attribute("data-state", "dead")
    slider.press("End")
    told = panel.locator('tr[data-rank="-1"] [data-cell="knows"]')
    expect(told).to_contain_text("has been told of the death of rank 2")
    cross.locator(".target").dispatch_event("click")
    expect(panel.locator(".said")).to_contain_text("labkit/runtime/supervisor.py")
    book.keep("finished-panel")
