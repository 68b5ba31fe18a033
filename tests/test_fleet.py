"""Jobs as discrete events: beside published figures, closed forms, and stories told by hand."""

import math
import time

import numpy as np
import pytest

from labkit.reliability import goodput, young_daly
from labkit.reliability.fleet import SPENT, Failures, Fleet, between, every, poisson
from labkit.reliability.life import average, play
from labkit.reliability.published import LLAMA3_MTBF_HOURS, RSC1
from labkit.reliability.replayed import (
    DIVERGENCES,
    LLAMA,
    LLAMA_MTBF,
    LLAMA_SPAN,
    NO_SPARES,
    REPLAYS,
    WITH_SPARES,
)
from labkit.reliability.responses import DAY, RESPONSES, failures
from labkit.views import fleet as views


def at(*moments: float) -> Failures:
    """Failures at these moments, and none after."""
    gaps = iter([*np.diff([0.0, *moments]).tolist(), math.inf])
    return Failures(lambda _: next(gaps, math.inf))


def spent(fleet: Fleet, failures: Failures, span: float) -> dict[str, float]:
    """In units of time, what is not zero."""
    course = play(fleet, failures, span)
    times = {name: getattr(course, name) * span for name in SPENT}
    return {name: pytest.approx(time) for name, time in times.items() if time > 1e-9}


# --- published figures


@pytest.mark.parametrize("replay", REPLAYS, ids=lambda r: f"{r.source}: {r.what}")
def test_a_published_figure_is_found_again(replay):
    figure = replay.play(trials=4)
    assert figure.agrees, f"simulated {figure.ours:.4g}, published {figure.published}"


PINNED = {"rsc-1-interval-half": 0.61, "torchft-run-2": 0.168}


@pytest.mark.parametrize("name", sorted(PINNED.keys() | DIVERGENCES.keys()))
def test_a_known_divergence_stays_as_it_is(name):
    figure = DIVERGENCES[name].play()
    assert figure.ours == pytest.approx(PINNED[name], abs=0.01)
    assert not figure.agrees
    assert figure.remark


def test_no_spares_and_slow_writes_explain_a_bad_result():
    """One pair of restart and repair gives both published figures; each half of the cure helps."""
    poor, good = NO_SPARES.fleet, WITH_SPARES.fleet
    assert (poor.restart, poor.repair) == (good.restart, good.repair)
    lives = [average(f, poisson(LLAMA_MTBF), LLAMA_SPAN, 4) for f in (poor, good)]
    assert lives[0].waiting > 0.25 > 0.01 > lives[1].waiting
    assert lives[0].writing > lives[1].writing + 0.003


def test_sixty_second_blocking_writes_cannot_reach_ninety_percent_at_llamas_size():
    """Not at any interval, with a restart of only 3 min; written in the background they can."""
    best = dict.fromkeys((False, True), 0.0)
    for background in best:
        write = {"write": 1 / 6, "flush": 1.0} if background else {"write": 1.0}
        for interval in (8.0, 14.0, 19.3, 28.0):
            fleet = Fleet(interval=interval, restart=3.0, **write)
            course = average(fleet, poisson(LLAMA_MTBF), LLAMA_SPAN, 3)
            best[background] = max(best[background], course.useful)
    assert best[False] < 0.9 < best[True]


# --- closed forms


@pytest.mark.parametrize(
    ("interval", "write", "restart"), [(19.3, 1.0, 6.0), (180.0, 1.0, 6.0), (30.0, 0.0, 0.0)]
)
def test_one_group_that_restarts_is_dalys_job(interval, write, restart):
    fleet, mtbf = Fleet(interval=interval, write=write, restart=restart), 185.6
    lives = [play(fleet, poisson(mtbf), 300 * mtbf, seed).useful for seed in range(25)]
    exact = young_daly.goodput(interval, write, mtbf, restart)
    assert np.mean(lives) == pytest.approx(exact, abs=5 * np.std(lives) / 5 + 1e-3)


@pytest.mark.parametrize("nodes", [64, 128, 500])
def test_the_published_formula_holds_within_five_percent_in_its_range(nodes):
    fleet = Fleet(interval=30.0, write=0.5, restart=6.0)
    mtbf = DAY / (nodes * RSC1)
    course = average(fleet, poisson(mtbf), 200 * mtbf, 8)
    formula = goodput.effective_training_time_ratio(nodes, RSC1, 0.5, 0.1, 0.5 / 60)
    assert course.useful == pytest.approx(float(formula), rel=0.05)


def test_a_write_in_the_background_costs_its_lateness_and_no_stall():
    """First order: a failure loses half an interval, and what was not durable yet."""
    mtbf, interval, flush = 1_000.0, 40.0, 15.0
    course = average(Fleet(interval=interval, flush=flush), poisson(mtbf), 400 * mtbf, 12)
    assert course.writing == 0
    assert course.lost == pytest.approx((interval / 2 + flush) / mtbf, rel=0.08)


def test_groups_that_are_repaired_one_by_one_are_present_as_availability_says():
    """A group fails every 1 000, is away for 100: 10/11 of the groups are there on average."""
    fleet = Fleet(groups=20, restart=20.0, hot=0, repair=80.0)
    course = average(fleet, poisson(1_000 / 20), 40_000.0, 4)
    assert course.present / 20 == pytest.approx(10 / 11, abs=0.01)
    assert course.progress == pytest.approx(course.present / 20, abs=1e-9)
    assert course.useful == pytest.approx(1.0)


def test_a_schedule_of_kills_costs_so_many_stalls():
    """A kill every 10 s or so: the survivors notice for 0.1 and regroup for 0.2, stand still for
    0.3 when the group joins, and on average half a step of 0.5 is done again."""
    fleet = Fleet(groups=4, detection=0.1, regroup=0.2, join=0.3, restart=1.0, step=0.5)
    course = play(fleet, between(9.5, 10.5), 20_000.0)
    assert 1 - course.useful == pytest.approx((0.1 + 0.2 + 0.3 + 0.25) / 10, rel=0.03)


# --- stories


def test_a_failure_goes_back_to_the_last_durable_checkpoint():
    """Work 0-10, write 10-11, work 11-18, flushed at 13; fails at 18: 7 lost, 3 until back."""
    fleet = Fleet(interval=10.0, write=1.0, flush=2.0, detection=1.0, restart=2.0)
    assert spent(fleet, at(18.0), 25.0) == {
        "useful": 14.0, "writing": 1.0, "lost": 7.0, "noticing": 1.0, "restarting": 2.0,
    }  # fmt: skip


def test_what_was_not_durable_yet_is_lost():
    """The failure at 14 breaks off the flush of 10-11; the one at 20 finds nothing either. From 22
    on there is work for 10, a write at 32, and so on: the old snapshot does not count."""
    fleet = Fleet(interval=10.0, write=1.0, flush=5.0, restart=2.0)
    assert spent(fleet, at(14.0, 20.0), 35.0) == {
        "useful": 12.0, "writing": 2.0, "lost": 17.0, "restarting": 4.0,
    }  # fmt: skip


def test_a_write_that_a_death_breaks_off_is_done_again():
    """10-12 half a write, a death, noticed at 13, the write 13-17; back at 18."""
    fleet = Fleet(groups=2, interval=10.0, write=4.0, detection=1.0, restart=5.0)
    assert spent(fleet, at(12.0), 20.0) == {"useful": 13.0, "writing": 6.0, "noticing": 1.0}


def test_a_group_joins_after_the_write():
    """Dead at 8, restarted at 11, in the middle of the write 10-14: all stand still for it then."""
    fleet = Fleet(groups=2, interval=10.0, write=4.0, restart=3.0, join=1.0)
    assert spent(fleet, at(8.0), 20.0) == {"useful": 15.0, "writing": 4.0, "restarting": 1.0}


def test_survivors_lose_a_part_of_a_step():
    """Steps of 2; a death at 5 voids 1; 0.5 + 0.5 until the others go on, 1 when it is back."""
    fleet = Fleet(groups=4, detection=0.5, regroup=0.5, restart=3.0, join=1.0, step=2.0)
    assert spent(fleet, at(5.0), 20.0) == {
        "useful": 17.0, "lost": 1.0, "noticing": 0.5, "restarting": 1.5,
    }  # fmt: skip
    course = play(fleet, at(5.0), 20.0)
    # away from 5 to 8.5, and until the border of the steps 6-8-10: 4 useful at three quarters
    assert course.progress * 20 == pytest.approx(4.0 + 4.0 * 0.75 + 9.0)
    assert [s[3] for s in course.stretches] == [4, 3, 3, 3, 4, 4]


def test_a_step_may_have_to_end_before_anybody_notices():
    fleet = Fleet(groups=4, step=2.0, finishes_step=True)
    assert spent(fleet, at(5.0), 20.0) == {"useful": 18.0, "lost": 1.0, "noticing": 1.0}


def test_too_few_groups_wait():
    """Three of four are the least: after the second death at 2 all wait for a machine until 6."""
    fleet = Fleet(groups=4, least=3, hot=0, repair=5.0)
    assert spent(fleet, at(1.0, 2.0), 10.0) == {"useful": 6.0, "waiting": 4.0}


def test_hot_spares_first_then_cold_ones_then_a_repair():
    """Each death costs 1; the second also 4 to boot, the third waits for a repair at 20 + 4."""
    fleet = Fleet(interval=0.9, restart=1.0, hot=1, cold=1, boot=4.0, repair=20.0)
    times = spent(fleet, at(10.0, 13.0, 19.0), 50.0)
    assert times["restarting"] == 3.0
    assert times["waiting"] == 4.0 + (30 + 4 - 19)


def test_a_repaired_machine_stands_by_as_the_one_that_it_replaced():
    fleet = Fleet(interval=0.9, restart=1.0, hot=1, cold=1, boot=4.0, repair=20.0)
    times = spent(fleet, at(10.0, 15.0, 60.0, 65.0), 100.0)
    assert times["waiting"] == 2 * 4.0


def test_a_failure_during_a_restart_starts_it_again():
    fleet = Fleet(interval=3.0, restart=5.0)
    assert spent(fleet, at(10.0, 13.0), 30.0) == {"useful": 21.0, "lost": 1.0, "restarting": 8.0}


def test_while_up_counts_from_the_return():
    course = play(Fleet(interval=3.0, restart=5.0), every(10.0, while_up=True), 151.0)
    assert course.failures == 10
    assert course.useful == pytest.approx(91 / 151)  # nine of ten, and the last one


def test_all_time_is_accounted_for_and_the_seed_decides():
    fleet = Fleet(
        groups=6, least=2, interval=7.0, write=0.3, flush=1.0, detection=0.4, regroup=0.2,
        restart=2.0, join=0.1, step=0.5, hot=1, cold=1, boot=2.0, repair=30.0,
    )  # fmt: skip
    courses = [play(fleet, between(0.0, 8.0), 3_000.0, seed) for seed in (1, 1, 2)]
    assert courses[0] == courses[1] != courses[2]
    for course in courses:
        assert sum(getattr(course, name) for name in SPENT) == pytest.approx(1.0)
        assert all(getattr(course, name) > 0 for name in SPENT)
        begins, ends = zip(*[s[:2] for s in course.stretches], strict=True)
        assert begins[1:] == ends[:-1]


@pytest.mark.parametrize(
    ("settings", "advice"),
    [({"groups": 2, "least": 3}, "must be 1 to 2"), ({"interval": 1.0, "flush": 2.0}, "pile up")],
)
def test_settings_without_sense_are_refused(settings, advice):
    with pytest.raises(ValueError, match=advice):
        Fleet(**settings)


# --- sizes


def test_the_better_answer_is_better_at_every_size_and_matters_at_the_largest():
    kept = {
        name: [average(make(g), failures(g), 54 * DAY, 2).progress for g in (8, 4_096, 100_000)]
        for name, make in RESPONSES.items()
    }
    repair, cold, hot, go_on = kept.values()
    assert min(kept[0] for kept in (repair, cold, hot, go_on)) > 0.97  # one node seldom fails
    assert repair[2] < 0.2 < 0.4 < cold[2] < 0.6 < 0.7 < hot[2] < 0.85 < 0.9 < go_on[2]
    assert repair[1] < cold[1] < hot[1] < go_on[1]


def test_fifty_four_days_of_llama_are_over_at_once():
    """0.07 s on a quiet core; ten times that at most."""
    begin = time.perf_counter()
    play(LLAMA, poisson(60 * LLAMA3_MTBF_HOURS), LLAMA_SPAN)
    assert time.perf_counter() - begin < 0.7


# --- pictures


def test_the_pictures_show_what_they_were_given():
    figures = [replay.play(1) for replay in REPLAYS[-4:]] + [DIVERGENCES["torchft-run-2"].play(1)]
    courses = {
        name: average(make(8_192), failures(8_192), DAY, 1) for name, make in RESPONSES.items()
    }
    by_size = {name: {8: course, 8_192: course} for name, course in courses.items()}
    pictures = [views.replays(figures), views.where_time_goes(courses), views.by_size(by_size)]
    for picture in pictures:
        assert len(picture.png()) < 60_000
    assert "4 of 5" in pictures[0].axes[0].get_title(loc="left")


def test_a_course_fits_on_a_line_of_a_notebook() -> None:
    """A month has thousands of stretches, and a cell shows its last value."""
    course = play(Fleet(interval=300.0, write=10.0), poisson(3600.0), 30 * 86_400.0)
    assert len(course.stretches) > 1000
    assert len(repr(course)) < 400
