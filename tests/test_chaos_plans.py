"""Of a plan that breaks something the part that does; plans and their stories as pictures."""

from __future__ import annotations

import pytest
import synthetic
from pictures import assert_legible, gids, run_of, with_gid

from labkit.chaos import random_plan, shrink
from labkit.faults import At, Cut, FaultPlan, Heal, Kill, Partition, Pause, Slow
from labkit.views.chaos import ordinal, plan_picture, planned, story, told
from labkit.views.counted import counted
from labkit.views.goodput import by_gap
from labkit.views.history import history
from labkit.views.recovery import recovery

PLAN = FaultPlan(
    At(Partition(((3,), (0, 1, 2))), seconds=1.0),
    At(Slow(1, 3.123456), seconds=0.5),
    At(Heal(), seconds=1.5),
    At(Kill(0), point="forward", count=23),
    At(Kill(4), seconds=2.0),
    At(Pause(2, 0.25), seconds=0.3),
)


@pytest.mark.parametrize("guilty", [{0}, {5}, {1, 4}, {0, 1, 2, 3, 4, 5}, {2, 3, 5}])
def test_what_is_left_breaks_it_and_nothing_of_it_can_go(guilty: set[int]) -> None:
    needed = {PLAN.entries[i] for i in guilty}
    tries = []

    def breaks(plan: FaultPlan) -> bool:
        tries.append(plan)
        return needed <= set(plan.entries)

    assert set(shrink(PLAN, breaks).entries) == needed
    assert len(tries) <= 24


def test_of_two_causes_one_is_left() -> None:
    small = shrink(PLAN, lambda plan: len(plan.entries) >= 2)
    assert len(small.entries) == 2


def test_what_breaks_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing breaks"):
        shrink(PLAN, lambda plan: False)


def test_a_plan_is_read_by_the_clock() -> None:
    rows = [(row.name, row.said, row.begin, row.end) for row in planned(PLAN)]
    assert rows == [
        ("Pause(rank=2, seconds=0.25)", "", 0.3, 0.55),
        ("Slow(rank=1, factor=3.1)", "", 0.5, 1.5),
        ("Partition(groups=((3,), (0, 1, 2)))", "", 1.0, 1.5),
        ("Kill(rank=4)", "", 2.0, 2.0),
        ("Kill(rank=0)", "when rank 0 comes to “forward” for the 23rd time", None, 0.0),
    ]
    figure = plan_picture(PLAN, "A plan")
    assert len(gids(figure, "bar:")) == 3
    assert gids(figure, "cross:") == ["cross:Kill(rank=4)"]
    assert_legible(figure)


def test_ordinals() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 21, 112)] == [
        *("1st", "2nd", "3rd", "4th", "11th", "21st", "112th"),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_every_plan_can_be_drawn(seed: int) -> None:
    assert_legible(plan_picture(random_plan(seed, 4, 2.5, faults=8), "Seed"))


def fault(kind: str, **data: object) -> dict[str, object]:
    ranks = [data["rank"]] if "rank" in data else [0, 1]
    return {"fault": {"fault": kind, **data}, "ranks": ranks}


def test_each_fault_is_told_with_what_became_of_it() -> None:
    """Rank 1 is killed and comes back; a cut is a slow step; rank 2 is suspected; rank 3 is dead
    when it is to die."""
    views = {1: (0, 1, 2, 3), 2: (0, 2, 3), 3: (0, 1, 2, 3), 4: (0, 1, 3)}
    when = {1: 0.0, 2: 1.05, 3: 1.6, 4: 5.0}
    events = [
        (when[n], rank, "view", "", {"number": n, "members": members})
        for n, members in views.items()
        for rank in members
    ]
    times = [0.1 * n for n in range(1, 30)] + [4.0 + 0.1 * n for n in range(20)]
    for step, time in enumerate(times):
        members = views[max(n for n in views if when[n] < time)]
        events += [(time, rank, "step", "", {"step": step}) for rank in members]
    events += [
        (1.0, -1, "fault", "", fault("Kill", rank=1)),
        (1.01, -1, "death", "SIGKILL", {"rank": 1}),
        (1.5, 1, "start", "", {}),
        (2.95, -1, "fault", "", fault("Cut", source=0, target=1)),
        (3.9, -1, "heal", "", {}),
        (4.2, -1, "fault", "", fault("Pause", rank=2, seconds=1.0)),
        (5.5, -1, "fault", "", fault("Kill", rank=3)),
    ]
    rows = {row.name: row.said for row in told(run_of(*sorted(events, key=lambda e: e[0])))}
    assert rows["Kill(rank=1)"] == "the others go on after 100 ms; rank 1 is in again after 600 ms"
    assert rows["Cut(source=0, target=1)"] == "nobody is taken for dead; a step takes 1.1 s"
    assert rows["Pause(rank=2, seconds=1.0)"] == "rank 2 is taken for dead after 800 ms"
    assert rows["Kill(rank=3)"].startswith("strikes nobody")


def test_the_story_of_a_run_is_legible() -> None:
    events = synthetic.typical(4)
    figure = story(events, "What became of it")
    assert_legible(figure)
    assert len(with_gid(figure, "said")) == len(told(events))


def test_a_cut_has_a_name() -> None:
    assert planned(FaultPlan(At(Cut(0, 1), seconds=1.0)))[0].name == "Cut(source=0, target=1)"


def test_goodput_by_gap_has_a_line_and_a_dot_for_each() -> None:
    played = {
        "ours": ((3, 10, 300), (95.0, 98.0, 99.0)),
        "theirs": ((3, 10, 300), (5.0, 40.0, 90.0)),
    }
    figure = by_gap(played, {"ours": (10, 99.1), "theirs": (10, 30.9)}, "What is left")
    assert gids(figure, "dot:") == ["dot:ours", "dot:theirs"]
    assert gids(figure, "line:") == ["line:ours", "line:theirs"]
    assert_legible(figure)


def test_the_death_of_the_witness_stops_no_step() -> None:
    """No view follows it; the ranks' next steps are the recovery."""
    events = [(0.0, 2, "start", "", {"role": "witness"})]
    events += [
        (0.1 * n + 0.01 * r, r, "step", "", {"step": n}) for n in range(1, 9) for r in (0, 1)
    ]
    events.append((0.0, 0, "view", "", {"number": 1, "members": (0, 1)}))
    events.append((0.35, -1, "fault", "", fault("Kill", rank=2)))
    events.append((0.36, -1, "death", "SIGKILL", {"rank": 2}))
    events.append((0.5, 2, "start", "", {"role": "witness"}))
    past = history(run_of(*sorted(events, key=lambda e: e[0])))
    assert recovery(past, past.faults[0]).seconds == pytest.approx(0.06)
    rows = told(run_of(*sorted(events, key=lambda e: e[0])))
    assert [row.said for row in rows] == [
        "the witness: the ranks have a majority without it; it lives again after 150 ms"
    ]


def test_a_kill_at_the_last_step_leaves_the_rest_of_the_run_without_goodput() -> None:
    events = [(0.1 * n, r, "step", "", {"step": n}) for n in range(1, 6) for r in (0, 1)]
    events.append((0.499, -1, "fault", "", fault("Kill", rank=1)))
    events.append((1.0, 0, "note", "still there", {}))
    past = history(run_of(*sorted(events, key=lambda e: e[0])))
    found = counted(past, [(0.499, 1.0)])
    assert found is not None
    assert found.end == pytest.approx(0.9)  # the first event was at 0.1
    assert found.goodput == pytest.approx(0.5, abs=0.01)
