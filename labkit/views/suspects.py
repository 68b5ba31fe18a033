"""The picture of exercise cluster.2: which events can have caused the crash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.checks import Case
from labkit.views import style
from labkit.views.space_time import space_time

INNOCENT = "#C9C9C9"


def suspects_picture(cases: Sequence[Case]) -> Any:
    """The first case with a wrong answer, else the first; None when the answer is no list."""
    case = next((c for c in cases if c.expected != c.got), cases[0])
    (log, crash), got = case.arguments, case.got
    if not isinstance(got, Sequence) or not all(isinstance(place, int) for place in got):
        return None
    expected, answer = set(case.expected), set(got)
    colours, notes = {}, {crash: "crash"}
    for place in range(len(log)):
        colours[place] = style.ORANGE if place in expected else INNOCENT
        if place in expected - answer:
            notes[place] = "missed"
        elif place in answer - expected and place != crash:
            notes[place] = "innocent"
    colours[crash] = style.FAULT
    wrong = len(notes) - 1 + (crash in answer)
    found = f"{len(expected & answer)} of {len(expected)} suspects found"
    verdict = "and nobody else" if not wrong else f"{len(answer - expected)} wrongly accused"
    title = f"{found}, {verdict}"
    return space_time(log, list(range(len(log))), colours, notes, title)
