"""Who is told what about the members of a view, and what a group makes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from labkit import events
from labkit.collectives.detection import Farewell, Listener
from labkit.collectives.group import Group
from labkit.collectives.links.memory import memory_links
from labkit.collectives.waiting import missing
from labkit.events import Event, EventLog
from labkit.runtime.departures import Departures
from labkit.view import Member, PeerLost, Superseded, View

RUN = 1
FIVE = View(5, (0, 1, 2))


class Notes(Listener):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_death(self, rank: int) -> None:
        self.heard.append(("death", rank))

    def on_farewell(self, rank: int, farewell: Farewell) -> None:
        self.heard.append(("farewell", rank, farewell.collectives))

    def on_next_view(self) -> None:
        self.heard.append("next view")


def departures() -> Departures:
    return Departures({0: 0, 1: 0, 2: 0, 3: 0})


def test_groups_that_have_the_dead_are_told_also_later() -> None:
    there, notes, others = departures(), Notes(), Notes()
    there.subscribe(RUN, FIVE, notes)
    there.subscribe(RUN, View(5, (0, 3)), others)

    there.died(Member(1, 0))
    late = Notes()
    there.subscribe(RUN, FIVE, late)

    assert notes.heard == late.heard == [("death", 1)]
    assert others.heard == []


def test_a_later_life_is_not_the_dead_one() -> None:
    there, notes = departures(), Notes()
    there.died(Member(1, 0))

    there.lives[1] = 1
    there.subscribe(RUN, FIVE, notes)

    assert notes.heard == []


def test_what_one_member_has_lost_is_lost_to_the_group_that_it_has_left() -> None:
    """Also where this host still hears it: nobody may wait in a group that others have left."""
    there, notes, newer, other_run = departures(), Notes(), Notes(), Notes()
    there.subscribe(RUN, FIVE, notes)
    there.subscribe(RUN, View(6, (0, 1, 2)), newer)
    there.subscribe(RUN + 1, FIVE, other_run)

    there.regroups(RUN, 2, Farewell(FIVE, 7, lost=1))

    assert notes.heard == [("death", 1)]
    assert newer.heard == other_run.heard == []


def test_a_function_that_a_loss_has_ended_names_who_was_lost() -> None:
    """Its end may be heard of before the death that caused it, also by a group that forms later;
    a group of another view has another reason."""
    there, notes, newer = departures(), Notes(), Notes()
    there.subscribe(RUN, FIVE, notes)
    there.subscribe(RUN, View(6, (0, 2)), newer)

    there.finished(RUN, 2, Farewell(FIVE, 7, lost=1))
    late = Notes()
    there.subscribe(RUN, FIVE, late)

    assert notes.heard == late.heard == [("death", 1)]
    assert newer.heard == [("farewell", 2, 7)]


def test_who_leaves_for_a_newer_view_says_how_far_it_has_come() -> None:
    there, notes = departures(), Notes()
    there.subscribe(RUN, FIVE, notes)

    there.regroups(RUN, 2, Farewell(FIVE, 7))

    assert notes.heard == [("farewell", 2, 7)]


def test_a_newer_view_is_told_once_to_each_older_group() -> None:
    there, notes, unsubscribed = departures(), Notes(), Notes()
    there.subscribe(RUN, FIVE, notes)
    there.subscribe(RUN, FIVE, unsubscribed)()

    there.installed(View(6, (0, 1, 2, 3)))
    newer, late = Notes(), Notes()
    there.subscribe(RUN, View(6, (0, 1)), newer)
    there.subscribe(RUN, FIVE, late)

    assert notes.heard == late.heard == ["next view"]
    assert newer.heard == unsubscribed.heard == []


# -- a group of two, of which the other member does as it is told here


class Told:
    """A detector that hands out the group."""

    def __init__(self) -> None:
        self.listener: Any = None
        self.subscribed = threading.Event()

    def subscribe(self, view: View, listener: Listener) -> Callable[[], None]:
        self.listener = listener
        self.subscribed.set()
        return lambda: None


def meanwhile(told: Told, act: Callable[[Any], None]) -> None:
    def later() -> None:
        assert told.subscribed.wait(10)
        act(told.listener)

    threading.Thread(target=later, daemon=True).start()


PAIR = View(5, (0, 1))


def test_a_newer_view_ends_the_forming_of_a_group() -> None:
    told, never = Told(), threading.Event()
    meanwhile(told, lambda group: group.on_next_view())

    with pytest.raises(Superseded, match=r"view 5 \{0,1\}"):
        Group(PAIR, 0, lambda: (None, never.wait(20)), told)  # type: ignore[arg-type, return-value]
    never.set()


def test_a_death_counts_more_than_a_newer_view() -> None:
    told, never = Told(), threading.Event()

    def both(group: Any) -> None:
        with group.changed:  # it looks when both are known
            group.on_death(1)
            group.on_next_view()

    meanwhile(told, both)
    with pytest.raises(PeerLost):
        Group(PAIR, 0, lambda: (None, never.wait(20)), told)  # type: ignore[arg-type, return-value]
    never.set()


def test_a_group_that_is_formed_goes_on_until_all_leave_it() -> None:
    told = Told()
    mine, other = memory_links(2)
    group = Group(PAIR, 0, lambda: (mine, None), told)

    group.on_next_view()
    partner = threading.Thread(target=lambda: _barrier(other))
    partner.start()
    group.barrier()
    partner.join(10)

    assert group.superseded
    group.close()


def test_who_has_left_is_missing_from_the_collectives_behind_its_last() -> None:
    told = Told()
    group = Group(PAIR, 0, lambda: (memory_links(2)[0], None), told)

    group.on_farewell(1, Farewell(PAIR, group.completed))

    with pytest.raises(PeerLost) as lost:
        group.barrier()
    assert lost.value.rank == 1


def test_who_has_sent_all_before_it_ended_is_not_missing_yet() -> None:
    """A process that leaves may have ended before the others have read the last that it sent."""
    told = Told()
    mine, other = memory_links(2)
    group = Group(PAIR, 0, lambda: (mine, None), told)

    group.on_farewell(1, Farewell(PAIR, group.completed + 1))
    group.on_death(1)
    partner = threading.Thread(target=lambda: _barrier(other))
    partner.start()
    group.barrier()
    partner.join(10)

    with pytest.raises(PeerLost) as lost:
        group.barrier()
    assert lost.value.rank == group.lost == 1


def test_who_has_made_the_same_mistake_as_all_others_is_not_missing_for_it() -> None:
    """A call that is refused has a number too: who has come to the next one is behind nobody."""
    told = Told()
    links = memory_links(2)
    mine, other = (Group(PAIR, r, lambda r=r: (links[r], None), told) for r in (0, 1))  # type: ignore[misc]
    for group in (mine, other):
        with pytest.raises(ValueError, match="unknown op"):
            group.all_reduce(torch.zeros(1), op="mean")
    other.submit(lambda: None, "the last").wait()
    gate = threading.Event()
    pending = mine.submit(gate.wait, "the last")

    mine.on_farewell(1, Farewell(PAIR, other.completed))

    assert missing(mine, pending) is None
    gate.set()
    assert pending.wait()
    for group in (mine, other):
        group.close()


def _barrier(link: Any) -> None:
    from labkit import collectives

    collectives.barrier(link)


def test_the_record_shows_no_collective_beyond_the_group_that_was_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though the group's own thread may be stuck in it for long, as in Gloo."""
    stuck, never = threading.Event(), threading.Event()

    def collective(*_: Any) -> None:
        stuck.set()
        never.wait(20)

    monkeypatch.setattr("labkit.collectives.group.collectives.all_reduce", collective)
    heard: list[Event] = []
    before = events.current()
    events.use(EventLog(stream=heard.append))
    try:
        group = Group(PAIR, 0, lambda: (memory_links(2)[0], None), Told())
        group.all_reduce_async(torch.zeros(1))
        assert stuck.wait(10)
        group.abandon()
        spans = [(e.kind, e.data.get("error")) for e in heard if e.name == "all-reduce"]
        assert spans == [("begin", None), ("end", "Abandoned")]
        never.set()
        group.thread.join(10)
        assert [e.kind for e in heard if e.name == "all-reduce"] == ["begin", "end"], "once"
    finally:
        events.use(before)
