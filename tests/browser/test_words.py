"""Much happens at once: the words of the diagram keep apart, and those left out are counted."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .pages import Open

CROWD = """
from labkit.events import DRIVER, Event
from labkit.faults import Cut, Heal, Kill, Restart, Slow, describe
from labkit.views.panel.finished import FinishedPanel

events = []

def happens(time, who, kind, name="", life=0, **data):
    events.append(Event(time, len(events), who, kind, name, life, data))

def strikes(time, fault):
    happens(time, DRIVER, "fault", str(fault), **describe(fault))

for rank in range(8):
    happens(0.0, rank, "view", "view 1", number=1, members=tuple(range(8)))
    happens(10.0, rank, "step", step=100)
strikes(4.9, Slow(0, 4.0))
strikes(4.95, Cut(0, 1))
for rank in range(8):
    time = 5.0 + 0.2 * rank
    strikes(time, Kill(rank))
    happens(time + 0.02, DRIVER, "death", "SIGKILL", rank=rank, signal="SIGKILL")
    others, number = tuple(other for other in range(8) if other != rank), 2 * rank + 2
    happens(time + 0.1, others[0], "view", f"view {number} {others}", number=number, members=others)
    strikes(time + 0.3, Restart(rank))
    happens(time + 0.5, rank, "start", "worker", life=1)
    number, everybody = 2 * rank + 3, tuple(range(8))
    happens(time + 0.6, rank, "view", f"view {number}", number=number, members=everybody)
happens(8.0, DRIVER, "heal", "Heal()")
"""
WORDS = 8 + 8 + 8 + 8 + 17 + 2 + 1
"""Kills and deaths, restarts and lives, views, bands, the heal."""


@pytest.mark.parametrize("present", [False, True])
def test_no_word_lies_on_another_and_none_is_lost_in_silence(notebook: Open, present: bool) -> None:
    book = notebook(
        f"crowd-{present}.ipynb", f"{CROWD}\nFinishedPanel(events, 'a crowd', {present})"
    )
    book.run(0)
    book.done(0)
    panel = book.panel
    words = panel.locator("svg.events .word")
    expect(words).to_have_count(WORDS)
    for width in (1280, 800):
        book.page.set_viewport_size({"width": width, "height": 1150})
        assert book.overlapping_words(seconds=0.5) == []
        shown = panel.locator("svg.events .word:visible").count()
        assert shown >= 10
        left_out = panel.locator(".unnamed")
        expect(left_out).to_have_attribute("data-count", str(WORDS - shown))
        expect(left_out).to_contain_text(f"+{WORDS - shown} more")
        book.keep(f"words-{width}{'-present' if present else ''}")
