"""The pictures of notebook 01: drawn, small, and showing what they were given."""

import numpy as np
import pytest

from labkit.reliability.goodput import Job
from labkit.reliability.mtbf import first_failures
from labkit.reliability.published import LLAMA3_INTERRUPTIONS
from labkit.views import goodput, reliability
from labkit.views.sliders import goodput_sliders

JOB = Job(3.1, 0.3, 1 / 60, 0.1)
LIVES = {n: first_failures(200.0, n, 50, np.random.default_rng(0)) for n in (1, 100)}
PICTURES = {
    "panel": lambda: goodput.panel(),
    "panel without failures": lambda: goodput.panel(gpus=8, write_seconds=0),
    "where time goes": lambda: goodput.where_time_goes(JOB, np.geomspace(0.05, 3, 6), 100),
    "by size": lambda: goodput.by_size([("one", 3.8e-3, 0.01, 0.1), ("two", 6.5e-3, 0.1, 0.5)]),
    "spot": lambda: goodput.spot(2.0, 0.8, 0.01, [0.01, 0.1, 0.5], np.geomspace(0.2, 48, 20)),
    "survival": lambda: reliability.survival_of_all(0.999, [1, 1_000]),
    "time to failure": lambda: reliability.time_to_failure(LIVES, 200.0),
    "interruptions": lambda: reliability.interruptions(LLAMA3_INTERRUPTIONS),
    "money": lambda: reliability.money_at_risk(4_000, [30.0, 200.0], 336, 2),
    "money without failures": lambda: reliability.money_at_risk(4_000, [], 336, 2),
    "three answers": lambda: reliability.three_answers(1_000, 0.999, 0.99),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_drawn_and_small(name):
    png = PICTURES[name]().png()
    assert png.startswith(b"\x89PNG")
    assert len(png) < 60_000


def titles(figure):
    return " ".join(axes.get_title(loc="left") for axes in figure.axes)


def test_the_panel_says_what_happened():
    title = titles(goodput.panel(gpus=131_072))
    assert "131\u00a0072 GPUs: a failure every 23 min, goodput 31 %" in title
    assert "no" not in titles(goodput.panel(gpus=8)).split()
    assert "0 failures" in titles(goodput.panel(gpus=8))


def test_money_counts_what_each_failure_burns():
    """Without checkpoints 30 h and 170 h are lost; with one every 2 h, 2 h and 0 h more at most."""
    title = titles(reliability.money_at_risk(4_000, [30.5, 201.0], 336, 2))
    assert "No checkpoints: $804\u00a0000 burnt" in title  # (30.5 + 170.5) h
    assert "One every 2 h: $4\u00a0000 burnt" in title  # (0.5 + 0.5) h


def test_stretches_of_unsaved_work():
    stretches = list(reliability.unsaved([5.0], 8.0, 2.0))
    assert stretches == [(0, 2, False), (2, 4, False), (4, 5, True), (5, 7, False), (7, 8, False)]


@pytest.mark.parametrize(
    ("hours", "text"),
    [(1e-3, "3.6 s"), (0.25, "15 min"), (1.0, "60 min"), (3.09, "3.1 h"), (1144.8, "48 days")],
)
def test_durations_are_said_as_people_say_them(hours, text):
    assert reliability.duration(hours) == text


def test_a_slider_draws_anew_and_says_the_line_that_does_the_same():
    box = goodput_sliders()
    rows, picture, line = box.children
    before = picture.value
    knob = rows.children[0].children[0]
    knob.value = 131_072
    assert picture.value != before
    assert "panel(gpus=131072, save_minutes=30, write_seconds=30, restart_minutes=10)" in line.value
