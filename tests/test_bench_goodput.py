"""Goodput under kills: which steps count, what the simulator is fed with, and a real run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from test_bench import check_rows
from test_bench import nothing_left as nothing_left  # a fixture

from labkit.bench import goodput
from labkit.bench.accounting import Costs, Step, completed, costs, counted, share, stretches
from labkit.bench.goodput import LAB, TORCHRUN, Recording, kills_of, predict
from labkit.events import Event

# A job of one step a second, killed at 3.5; its next step begins at 5, from the checkpoint of step
# 2 that was written from 2 to 2.5; another pause from 8 to 9.
ATTEMPTS = [Step(1, 0, 1), Step(2, 1, 2), Step(3, 2.5, 3.5), Step(3, 5, 6), Step(4, 6, 7),
            Step(5, 7, 8), Step(6, 9, 10)]  # fmt: skip


def test_what_was_lost_and_done_again_counts_once() -> None:
    steps = counted(reversed(ATTEMPTS))
    assert [(step.number, step.begin) for step in steps] == [
        (1, 0), (2, 1), (3, 5), (4, 6), (5, 7), (6, 9),
    ]  # fmt: skip
    assert stretches(steps) == [(0, 2), (5, 8), (9, 10)]
    assert share(steps, 0, 10) == pytest.approx(0.6)
    assert share(steps, 1.5, 6.5) == pytest.approx((0.5 + 1.5) / 5)


def test_ranks_that_end_a_step_one_after_the_other_count_once() -> None:
    steps = counted([Step(1, 0.0, 1.0), Step(1, 0.1, 1.2), Step(2, 1.1, 2.0), Step(2, 1.2, 1.9)])
    assert stretches(steps) == [(0.1, 2.0)]


def test_costs_are_the_gaps_behind_kills_and_the_others() -> None:
    found = costs(counted(ATTEMPTS), kills=[3.5], begin=0.0, end=10.0)
    assert found == Costs(step=1, stall=1.5, pause=1.0, pauses=1, pause_after=5.5)
    late = costs(counted(ATTEMPTS), kills=[3.5, 9.5], begin=0.0, end=11.0)
    assert late.stall == pytest.approx((1.5 + 1.5) / 2)  # nothing followed the second by the end
    with pytest.raises(ValueError, match="one of them is missing"):
        costs(counted(ATTEMPTS), [], 0.0, 10.0)


def test_a_step_begins_where_the_last_ended_or_with_its_computation_after_a_regroup() -> None:
    def event(time: float, kind: str, name: str = "", **data: int) -> Event:
        return Event(time, 0, 2, kind, name, 0, data)

    events = [
        event(0.0, "begin", "forming group"), event(1.0, "begin", "computing", step=0),
        event(1.5, "begin", "computing", step=0), event(2.0, "step", step=1),
        event(2.1, "begin", "computing", step=1), event(3.0, "step", step=2),
        event(3.1, "begin", "computing", step=2), event(4.0, "begin", "agreeing"),
        event(5.0, "begin", "computing", step=2), event(6.0, "step", step=3),
    ]  # fmt: skip
    assert list(completed(events)) == [(2, 1, 1.0, 2.0), (2, 2, 2.0, 3.0), (2, 3, 5.0, 6.0)]


def test_kills_come_evenly_from_the_middle_of_the_first_interval() -> None:
    kills = kills_of(120.0, 10.0, random.Random(0))
    assert [moment for moment, _ in kills] == [5 + 10 * i for i in range(12)]
    assert {rank for _, rank in kills} == {0, 1, 2, 3}


def test_the_simulator_is_fed_with_what_was_measured() -> None:
    """Lab: 12 kills, each 0.2 until the others go on, 0.1 as the rank joins, half a step of 0.1.
    torchrun: each 2.5 until all are back, and on average half a save interval is lost."""
    kills = kills_of(120.0, 10.0, random.Random(0))
    ours = predict(LAB, Costs(0.1, 0.2, 0.1, 3, 1.0), kills, 120.0)
    assert ours == pytest.approx(1 - 12 * 0.35 / 120, abs=0.0051)
    theirs = predict(TORCHRUN, Costs(0.1, 2.5, 0.0, 0, 0.0), kills, 120.0)
    assert theirs == pytest.approx(1 - 12 * 3.0 / 120, abs=12 * 0.5 / 120)


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_a_real_run_under_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goodput, "WARM", 1.0)
    monkeypatch.setattr(goodput, "RUNS", {LAB: goodput.lab})
    monkeypatch.setattr(goodput, "TRIAL", {LAB: (4.0, [(1.0, 1)])})
    monkeypatch.setattr(goodput, "AIMS", [])
    table, plot = tmp_path / "rows.json", tmp_path / "plot.png"
    assert goodput.main(table, plot, check=True, seconds=10.0) == 0
    rows = check_rows(
        table, {LAB + end for end in (goodput.GOODPUT, goodput.PREDICTED, goodput.OFF)}
    )
    assert rows[LAB + goodput.GOODPUT]["note"] == "1 kills in 10 s"
    assert rows[LAB + goodput.GOODPUT]["median"] > 50
    assert rows[LAB + goodput.OFF]["median"] < 50
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_picture_has_a_line_for_each_system() -> None:
    recording = Recording(counted(ATTEMPTS), [3.5], 0.0, 10.0)
    rows = [
        goodput.report.row(LAB + end, "ours", "%", [90.0])
        for end in (goodput.GOODPUT, goodput.PREDICTED)
    ]
    picture = goodput.draw(rows, {LAB: recording})
    assert [text.get_text() for text in picture.axes[0].texts] == [
        "lab, elastic: 90.0 %, predicted 90.0 %"
    ]
