"""Pictures of checkpoints: what they show, not how they look."""

from __future__ import annotations

from typing import Any

from labkit.events import Event
from labkit.views import checkpoints


def run(first: int, last: int) -> list[Event]:
    """Reports the loss of these steps."""
    return [
        Event(float(step), 0, 0, "metric", "loss", data={"step": step, "value": 10 - step / 10})
        for step in range(first, last + 1)
    ]


def words(figure: Any) -> str:
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    return " | ".join([*texts, *(text.get_text() for text in figure.texts)])


def ids(figure: Any) -> list[str]:
    """Of what was drawn on purpose."""
    made = [artist.get_gid() for axes in figure.axes for artist in axes.get_children()]
    return [gid for gid in made if gid]


def test_a_life_that_begins_at_the_beginning_does_all_again() -> None:
    figure = checkpoints.lives([run(1, 30), run(1, 50)], "lost")
    assert "30 steps done again" in words(figure)
    assert "all dead after step 30" in words(figure)
    assert "goes on with step 1" in words(figure)
    curves = [line.get_xydata() for line in figure.axes[0].lines if line.get_gid()]
    assert [(len(c), c[0][0]) for c in curves] == [(30, 1), (50, 31)], "one after the other"


def test_a_life_that_goes_on_repeats_nothing() -> None:
    figure = checkpoints.lives([run(1, 30), run(31, 50)], "kept")
    assert "done again" not in words(figure)
    assert not [gid for gid in ids(figure) if gid.startswith("redone")]


def test_a_run_with_the_same_losses_is_green_and_all_others_are_not() -> None:
    unbroken = [2.0, 1.5, 1.0, 0.5, 0.4]
    resumed = {"model": [2.0, 1.9], "average": [0.5, 0.4]}
    verdicts = {"model": "back where it began", "average": "same losses"}
    figure = checkpoints.left_out(unbroken, resumed, 3, verdicts, "one is left out")
    assert [axes.texts[0].get_text() for axes in figure.axes] == [
        "without model", "without average",
    ]  # fmt: skip
    assert "back where it began" in words(figure)
    lines = {line.get_gid(): line for axes in figure.axes for line in axes.lines}
    assert lines["resumed:average"].get_color() == checkpoints.style.GREEN
    assert lines["resumed:model"].get_color() != checkpoints.style.GREEN
    assert list(lines["resumed:model"].get_xdata()) == [4, 5]


def test_a_cell_names_the_worst_that_was_found_there() -> None:
    found = {
        "write": {"old": 1},
        "rename": {"old": 60, "new": 30, "torn": 10},
        "fsync": {"old": 5, "new": 5},
        "end": {"old": 999, "torn": 1},
    }
    grids = {"by power": {"naive": found}, "by kill": {"naive": {"write": {"new": 1}}}}
    figure = checkpoints.crashes(grids, [*found, "nowhere"], "old, new, torn")
    shown = words(figure)
    for text in ("torn 10 %", "old or new", "torn, seldom", "by power", "by kill"):
        assert text in shown
    cells = [gid for gid in ids(figure) if ":" in gid]
    assert len(cells) == 1 + 3 + 2 + 2 + 1, "no box for what never happened"
