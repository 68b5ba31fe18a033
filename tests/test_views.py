"""The pictures of a run say what happened, legibly: asserted on what is drawn, not on pixels."""

import time

import numpy as np
import pytest
import synthetic
from pictures import assert_legible, gids, rgb, run_of, text_of, with_gid, words

from labkit.events import DRIVER, Event
from labkit.faults import Heal, Kill, Pause, Restart
from labkit.views import style
from labkit.views.history import history
from labkit.views.recovery import recovery
from labkit.views.timeline import timeline

# ---- the overview ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def picture():
    return timeline(synthetic.typical(4), title="A kill, a restart and a pause")


def test_a_picture_of_a_run_shows_what_happened(picture):
    assert gids(picture, "fault:") == [
        "fault:Kill(rank=2)",
        "fault:Pause(rank=1, seconds=1.0)",
        "fault:Restart(rank=2)",
    ]
    assert gids(picture, "view:") == ["view:1", "view:2", "view:3"]
    assert gids(picture, "checkpoint:") == ["checkpoint:16", "checkpoint:8"]
    assert gids(picture, "death:") == ["death:2"]
    assert text_of(picture, "cause:2") == "SIGKILL"
    assert len(with_gid(picture, "paused")) == 1
    written = [text for text, _ in words(picture)]
    for text in ("Kill(rank=2)", "view 2 {0,1,3}", "checkpoint step 8", "rank 3", "all-reduce"):
        assert written.count(text) == 1, text


def test_each_activity_is_drawn_in_its_colour(picture):
    for name in ("computing", "all reduce", "waiting", "restoring", "checkpoint"):
        for shapes in with_gid(picture, f"activity:{name}"):
            colour = style.LOOKS[name].colour
            assert np.allclose(shapes.get_facecolor()[0][:3], rgb(colour), atol=0.01), name


def test_the_slices_are_where_they_were(picture):
    """The rectangles of one activity cover the seconds that the ranks spent on it."""
    past = history(synthetic.typical(4))
    drawn = 0.0
    for shapes in with_gid(picture, "activity:computing"):
        for path in shapes.get_paths():
            drawn += np.ptp(path.vertices[:, 0])
    spent = sum(
        s.end - s.begin for some in past.slices.values() for s in some if s.activity == "computing"
    )
    assert drawn == pytest.approx(spent, rel=1e-6)


def test_goodput_is_the_share_of_the_steps_without_faults(picture):
    (line,), (ideal,) = with_gid(picture, "steps"), with_gid(picture, "without faults")
    share = line.get_ydata()[-1] / ideal.get_ydata()[-1]
    assert text_of(picture, "goodput") == f"{100 * share:.0f} %"
    assert 0.7 < share < 0.9
    assert list(line.get_ydata()) == sorted(line.get_ydata())


def test_a_run_without_faults_has_all_of_its_goodput():
    quiet = synthetic.Run(3)
    quiet.start()
    assert text_of(timeline(quiet.steps(12).finished()), "goodput") == "100 %"


def test_a_death_that_nobody_injected_costs_as_much():
    run = synthetic.Run(4)
    run.start()
    run.steps(8).kill(2)
    run.until(run.time - synthetic.START + 3.0).restart(2)
    events = run.steps(20).finished()
    unasked = [event for event in events if event.kind != "fault"]
    assert text_of(timeline(unasked), "goodput") == text_of(timeline(events), "goodput") != "100 %"


def test_where_no_step_follows_a_death_the_time_after_it_is_lost():
    run = synthetic.Run(3)
    run.start()
    end = run.steps(8).time
    run.inject(Kill(1), end - 0.0009)  # in the last step: the others complete it a moment later
    run.record(DRIVER, end, "death", rank=1, signal="SIGKILL", step=8)
    run.slice(0, "all_reduce", end, end + 1.6)

    percent = int(text_of(timeline(run.finished()), "goodput").removesuffix(" %"))

    assert 45 < percent < 55


def test_work_that_was_thrown_away_counts_once():
    events = synthetic.long(4, 15.0)
    (line,) = with_gid(timeline(events), "steps")
    assert line.get_ydata()[-1] == len({e.data["step"] for e in events if e.kind == "step"})


def test_counts_says_which_steps_count():
    events = synthetic.typical(4)
    (line,) = with_gid(timeline(events, counts=lambda e: e.data["step"] % 2 == 0), "steps")
    assert line.get_ydata()[-1] == len({e.data["step"] for e in events if e.kind == "step"}) // 2


def test_a_hang_is_told():
    picture = timeline(synthetic.hang())
    written = [text for text, _ in words(picture)]
    assert "the deadline of 3 s has passed" in written
    assert "no step since" in text_of(picture, "took:")
    assert_legible(picture)


def test_what_all_ranks_say_at_once_is_written_once():
    run = synthetic.Run(4)
    run.start()
    for _ in range(2):  # two deaths of one rank, and each time the others find the same
        run.steps(2).kill(3)
        for rank in range(3):
            run.record(rank, run.time + 0.001 * rank, "note", "pauses: 1 more must come back")
        run.until(run.time + 1.0).restart(3)
    run.steps(4).record(0, run.time, "note", "and this is another word")
    picture = timeline(run.finished())
    written = [text for text, _ in words(picture)]
    assert written.count("pauses: 1 more must come back") == 2
    assert written.count("and this is another word") == 1
    assert len(with_gid(picture, "note")) == 3
    assert text_of(picture, "left out") is None or "notes" not in text_of(picture, "left out")


def test_an_unknown_span_gets_a_colour_and_an_entry():
    events = run_of(
        (0.0, 0, "begin", "computing", {}),
        (1.0, 0, "end", "computing", {}),
        (1.0, 0, "begin", "polishing lenses", {}),
        (2.0, 0, "end", "polishing lenses", {}),
    )
    picture = timeline(events)
    assert "polishing lenses" in [text for text, _ in words(picture)]
    (shapes,) = with_gid(picture, "activity:polishing lenses")
    assert not np.allclose(shapes.get_facecolor()[0][:3], rgb(style.LOOKS["computing"].colour))


def test_a_witness_has_the_last_lane():
    events = [*synthetic.typical(3), Event(1000.0, 0, 0, "start", "witness")]
    past = history(events)
    assert past.ranks[-1] == 0
    assert "witness" in [text for text, _ in words(timeline(events))]


@pytest.mark.parametrize("events", [[], run_of((3.0, 0, "start", "", {}))])
def test_a_run_in_which_nothing_happened_has_a_picture(events):
    assert_legible(timeline(events))


@pytest.mark.parametrize("seed", range(12))
def test_labels_never_touch_and_are_never_cut_off(seed):
    events = synthetic.random_run(seed)
    assert_legible(timeline(events))
    for fault in history(events).faults[:2]:
        assert_legible(timeline(events, around=fault.event.time))


# ---- much at once ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minute():
    return synthetic.long(8, 60.0)


@pytest.mark.slow
def test_a_minute_of_eight_ranks_is_legible_and_says_what_it_left_out(minute):
    begin = time.monotonic()
    picture = timeline(minute)
    png = picture.png()
    assert time.monotonic() - begin < 20  # takes 1.2 s on the reference
    assert_legible(picture)
    assert len(png) <= 60_000
    left_out = text_of(picture, "left out")
    merged = sum(len(some) for some in history(minute).slices.values())
    assert "slices shorter than 2 px merged" in left_out
    assert "messages not drawn" in left_out
    said = int(left_out.split("time: ")[1].split(" ·")[0].replace("\u2009", ""))
    assert 0.99 * merged < said <= merged


def test_merged_slices_keep_their_share_of_the_lane(minute):
    """The area that an activity covers is the time that it took, also where slices are merged."""
    picture, past = timeline(minute), history(minute)
    area, spent = {}, {}
    for name in ("computing", "reduce scatter", "all gather"):
        area[name] = sum(
            np.ptp(p.vertices[:, 0]) * np.ptp(p.vertices[:, 1])
            for shapes in with_gid(picture, f"activity:{name}")
            for p in shapes.get_paths()
        )
        spent[name] = sum(
            s.end - s.begin for x in past.slices.values() for s in x if s.activity == name
        )
    for name in ("reduce scatter", "all gather"):
        assert area[name] / area["computing"] == pytest.approx(
            spent[name] / spent["computing"], rel=0.05
        )


def test_too_many_messages_are_counted_not_drawn():
    run = synthetic.Run(3)
    run.start()
    run.steps(3)
    for i in range(40_000):
        run.message(i % 3, (i + 1) % 3, synthetic.START + 0.5 * i / 40_000, 0.001, "chunk")
    picture = timeline(run.finished())
    assert not with_gid(picture, "messages")
    assert "messages not drawn: 40\u2009000" in text_of(picture, "left out")


def test_a_cloud_of_messages_is_counted_also_at_the_scale_of_a_fault():
    events = synthetic.typical(4)
    kill = next(e for e in events if e.kind == "fault")
    for i in range(300):
        told = {"id": f"x{i}", "peer": 1}
        events.append(Event(kill.time + 1e-4 * i, 0, 0, "send", "beat", data=told))
        events.append(Event(kill.time + 1e-4 * i + 1e-3, 0, 1, "receive", "beat", data=told))
    picture = timeline(events, around=Kill(2))
    assert not with_gid(picture, "messages")
    assert "messages not drawn: 306" in text_of(picture, "left out")
    assert_legible(picture)


def test_messages_are_arrows_from_lane_to_lane():
    run = synthetic.Run(3)
    run.start()
    run.message(0, 2, synthetic.START + 0.2, 0.3, "hello")
    events = run.steps(4).finished()
    (arrows,) = with_gid(timeline(events), "messages")
    (shaft,) = arrows.get_segments()
    assert shaft[0][0] == pytest.approx(0.2)
    assert shaft[1][0] == pytest.approx(0.5)
    assert shaft[1][1] > shaft[0][1]  # downwards


# ---- the anatomy of a recovery -----------------------------------------------------------------


@pytest.mark.parametrize("around", ["fault", "event", "death", "time"])
def test_the_anatomy_of_a_recovery(around):
    events = synthetic.typical(4)
    fault = next(e for e in events if e.kind == "fault")
    death = next(e for e in events if e.kind == "death")
    where = {"fault": Kill(2), "event": fault, "death": death, "time": fault.time - events[0].time}
    picture = timeline(events, around=where[around])
    assert gids(picture, "phase:") == [f"phase:{p}" for p in ("agree", "form", "notice", "redo")]
    for phase in recovery(history(events), history(events).faults[0]).phases:
        label = text_of(picture, f"phasename:{phase.name}")
        assert label.startswith(phase.name)
        assert float(label.split()[1]) == pytest.approx(1000 * (phase.end - phase.begin), abs=0.51)
    assert "238 ms from SIGKILL to the first step of view 2" in text_of(picture, "title")
    assert gids(picture, "lost:") == ["lost:0", "lost:1", "lost:3"]
    assert gids(picture, "message:") == ["message:echo", "message:gone 2", "message:propose"]
    assert_legible(picture)


def test_phases_that_are_not_in_the_events_are_not_drawn():
    kept = [e for e in synthetic.typical(4) if e.kind not in ("lost", "send", "receive")]
    assert gids(timeline(kept, around=Kill(2)), "phase:") == [
        "phase:agree",
        "phase:form",
        "phase:redo",
    ]
    picture = timeline(synthetic.typical(4), around=Pause(1, 1.0))
    assert not with_gid(picture, "phase:")
    assert_legible(picture)


def test_a_few_steps_around_one_say_around_which():
    events = [e for e in synthetic.typical(4) if e.kind == "step"]
    step = next(e for e in events if e.rank == 1 and e.data["step"] == 4)
    (axes,) = (a for a in timeline(events, around=step).axes if a.get_xlabel())
    assert axes.get_xlabel().endswith(" since step 4 of rank 1")


def test_a_restart_has_phases_of_its_own():
    picture = timeline(synthetic.typical(4), around=Restart(2))
    assert gids(picture, "phase:") == [f"phase:{p}" for p in ("agree", "form", "start", "step")]


def test_what_is_not_in_the_run_is_refused_with_what_is():
    with pytest.raises(ValueError, match=r"Kill\(rank=3\) was not injected.*Kill\(rank=2\)"):
        timeline(synthetic.typical(4), around=Kill(3))
    with pytest.raises(ValueError, match="lasted 6"):
        timeline(synthetic.typical(4), around=99.0)
    with pytest.raises(ValueError, match="none"):
        timeline([], around=Heal())
