"""What a picture takes from the events of a run, before anything is drawn."""

import pytest
import synthetic
from pictures import run_of

from labkit.events import DRIVER
from labkit.faults import Cut, Pause
from labkit.views.history import history
from labkit.views.recovery import recovery


def activities(events, rank):
    return [(s.activity, round(s.begin, 6), round(s.end, 6)) for s in history(events).slices[rank]]


def test_the_innermost_slice_is_what_a_rank_does():
    events = run_of(
        (10.0, 0, "begin", "run", {}),
        (11.0, 0, "begin", "computing", {}),
        (12.0, 0, "begin", "all_reduce", {}),
        (13.0, 0, "end", "all_reduce", {}),
        (14.0, 0, "end", "computing", {}),
        (15.0, 0, "end", "run", {}),
    )
    assert activities(events, 0) == [
        ("computing", 1, 2),
        ("all reduce", 2, 3),
        ("computing", 3, 4),
    ]


def test_an_open_slice_of_a_killed_rank_ends_at_the_kill_not_when_it_was_reaped():
    events = run_of(
        (0.0, 0, "begin", "computing", {}),
        (0.0, 1, "begin", "computing", {}),
        (2.0, DRIVER, "fault", "", {"fault": {"fault": "Kill", "rank": 1}, "ranks": [1]}),
        (2.3, DRIVER, "death", "", {"rank": 1, "signal": "SIGKILL"}),
        (5.0, 0, "end", "computing", {}),
    )
    assert activities(events, 1) == [("computing", 0, 2)]
    assert activities(events, 0) == [("computing", 0, 5)]
    (death,) = history(events).deaths
    assert (death.rank, death.time, death.cause) == (1, 2.0, "SIGKILL")


def test_a_death_that_nobody_injected_is_when_it_was_seen():
    events = run_of(
        (0.0, 0, "begin", "computing", {}),
        (2.3, DRIVER, "death", "", {"rank": 0, "code": 1}),
    )
    (death,) = history(events).deaths
    assert (death.time, death.cause) == (2.3, "exit 1")


def test_a_collective_without_one_of_its_members_is_waiting():
    events = run_of(
        (0.0, 1, "start", "", {}),
        (1.0, 0, "begin", "all-reduce", {}),
        (2.0, DRIVER, "fault", "", {"fault": {"fault": "Kill", "rank": 1}, "ranks": [1]}),
        (2.1, DRIVER, "death", "", {"rank": 1, "signal": "SIGKILL"}),
        (3.0, 0, "view", "", {"number": 2, "members": [0]}),
        (4.0, 0, "end", "all-reduce", {"error": "PeerLost"}),
    )
    assert activities(events, 0) == [
        ("all reduce", 1, 2),
        ("waiting", 2, 4),
    ]


@pytest.mark.parametrize(
    ("cut", "waits"),
    [
        ({"fault": "Partition", "groups": [[0], [1, 2]]}, True),
        ({"fault": "Partition", "groups": [[0, 1], [2]]}, False),
        ({"fault": "Partition", "groups": [[0, 2]]}, False),
        ({"fault": "LinkDown", "rank": 1}, True),
        ({"fault": "Cut", "source": 0, "target": 1}, False),  # a ring may do without this way
    ],
)
def test_a_collective_with_a_member_on_the_other_side_of_a_partition_is_waiting(cut, waits):
    events = run_of(
        (0.0, 1, "start", "", {}),
        (0.0, 0, "view", "", {"number": 1, "members": [0, 1]}),
        (1.0, 0, "begin", "all-reduce", {}),
        (2.0, DRIVER, "fault", "", {"fault": cut, "ranks": [0, 1]}),
        (3.0, 0, "view", "", {"number": 2, "members": [0]}),
        (4.0, 0, "end", "all-reduce", {}),
    )
    parted = [("all reduce", 1, 2), ("waiting", 2, 3), ("all reduce", 3, 4)]
    assert activities(events, 0) == (parted if waits else [("all reduce", 1, 4)])


def test_the_loss_of_a_host_is_over_when_its_rank_lives_on_another():
    cut = {"fault": {"fault": "LinkDown", "rank": 1}, "ranks": [1]}
    events = run_of(
        (0.0, 1, "start", "", {}),
        (1.0, DRIVER, "fault", "", cut),
        (2.0, 0, "start", "", {}),
        (3.0, 1, "start", "", {}),
        (4.0, 0, "step", "", {"step": 1}),
    )
    assert [(fault.begin, fault.end) for fault in history(events).faults] == [(1.0, 3.0)]


def test_nobody_waits_for_one_that_dies_after_a_view_without_it():
    """It stood still, was taken for dead, and ended when it went on."""
    events = run_of(
        (0.0, 1, "start", "", {}),
        (1.0, 0, "view", "", {"number": 2, "members": [0, 2]}),
        (2.0, 1, "death", "", {"rank": 1, "code": 1}),
        (3.0, 0, "begin", "all-reduce", {}),
        (4.0, 0, "end", "all-reduce", {}),
    )
    assert activities(events, 0) == [("all reduce", 3, 4)]


def test_a_slice_of_another_thread_lies_beside_what_the_main_thread_does():
    events = run_of(
        (0.0, 0, "begin", "backward", {}),
        (1.0, 0, "begin", "all_reduce", {"thread": "group"}),
        (2.0, 0, "end", "backward", {}),
        (3.0, 0, "end", "all_reduce", {}),
    )
    found = {(s.activity, s.begin, s.end, s.beside) for s in history(events).slices[0]}
    assert found == {
        ("computing", 0, 2, False),
        ("all reduce", 1, 2, True),
        ("all reduce", 2, 3, False),
    }


def test_a_step_reported_twice_is_work_done_again():
    past = history(synthetic.long(4, 15.0))
    again = [s for some in past.slices.values() for s in some if s.again]
    assert again
    assert all(s.begin > past.faults[0].begin for s in again)
    assert not any(s.again for some in history(synthetic.typical()).slices.values() for s in some)


@pytest.mark.parametrize(
    ("fault", "ender", "end"),
    [
        (Pause(1, 2.0), None, 3.0),
        (Pause(1), {"fault": "Resume", "rank": 1}, 4.0),
        (Pause(1), {"fault": "Resume", "rank": 0}, 9.0),
        (Cut(0, 1), {"fault": "Heal"}, 4.0),
        (Cut(0, 1), None, 9.0),
    ],
)
def test_a_fault_lasts_until_it_is_ended(fault, ender, end):
    plain = {
        "fault": type(fault).__name__,
        **{f: getattr(fault, f) for f in fault.__struct_fields__},
    }
    told = [(0.0, 0, "start", "", {}), (0.0, 1, "start", "", {}), (9.0, 0, "note", "", {})]
    told.append((1.0, DRIVER, "fault", str(fault), {"fault": plain}))
    if ender:
        told.append((4.0, DRIVER, "fault", "", {"fault": ender}))
    past = history(run_of(*sorted(told, key=lambda e: e[0])))
    assert (past.faults[0].name, past.faults[0].end) == (str(fault), end)


def test_a_heal_event_ends_what_it_names():
    cut = {"fault": {"fault": "Cut", "source": 0, "target": 1}}
    for name, end in (("", 2.0), ("Cut(source=0, target=1)", 2.0), ("other", 5.0)):
        events = run_of(
            (0.0, 0, "start", "", {}),
            (1.0, DRIVER, "fault", "", cut),
            (2.0, DRIVER, "heal", name, {}),
            (5.0, 0, "note", "", {}),
        )
        assert history(events).faults[0].end == end, name


def test_the_phases_of_a_recovery_end_with_the_last_rank():
    past = history(synthetic.typical(4))
    kill = past.faults[0]
    found = recovery(past, kill)
    notice = max(m.time for m in past.marks["lost"])
    agree = max(v.time for v in past.views if v.data["number"] == 2)
    assert [p.name for p in found.phases] == ["notice", "agree", "form", "redo"]
    assert found.phases[0].begin == kill.begin
    assert [p.end for p in found.phases[:2]] == [notice, agree]
    assert all(a.end == b.begin for a, b in zip(found.phases, found.phases[1:], strict=False))
    first = {}
    for s in past.steps:
        if s.time > agree:
            first.setdefault(s.rank, s.time)
    assert found.done == max(first[r] for r in (0, 1, 3))


def test_a_run_that_hangs_never_recovers():
    past = history(synthetic.hang())
    assert recovery(past, past.faults[0]).done is None
