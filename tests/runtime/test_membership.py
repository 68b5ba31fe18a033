"""The host's end of the agreement on views: what of it reaches the connections."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue

import pytest

from labkit.protocols.codec import encode
from labkit.protocols.effects import Context, SetTimer, deliver, fire, found, start
from labkit.protocols.heartbeat import Beat
from labkit.protocols.raft.messages import AppendEntries, Entry
from labkit.protocols.views import NextView
from labkit.runtime.engine import Engine
from labkit.runtime.loop import Loop
from labkit.runtime.membership import Membership, agreeing, beating
from labkit.view import Member, View

ME, OTHER, WITNESS = Member(0, 0), Member(1, 3), Member(2, 0)


def test_who_comes_and_is_lost_in_one_breath_is_out(tmp_path: Path) -> None:
    """A rank that was slow to hear installs both views at once; the others have excluded it."""
    installed, dropped = SimpleQueue[View](), SimpleQueue[Member]()
    loop = Loop("test")
    loop.start()
    engine = Engine(loop, ME, tmp_path, lambda rank, said: None)

    def begin() -> Membership:
        made = Membership(engine, ME, 2, None, True, installed.put, dropped.put)
        made.joined(OTHER)
        made.joined(WITNESS)
        return made

    membership = loop.call(begin)
    views = NextView(1, (ME, OTHER)), NextView(2, (ME,))
    entries = tuple(Entry(1, view) for view in views)
    both = encode(AppendEntries(1, 0, 0, entries, commit=2, round=1))

    loop.call(lambda: membership.node.deliver(WITNESS.rank, both))

    assert [installed.get(timeout=10.0) for _ in views] == [View(1, (0, 1)), View(2, (0,))]
    loop.stop()
    assert membership.excluded == {OTHER}
    assert [dropped.get_nowait() for _ in range(dropped.qsize())] == [OTHER]


@pytest.mark.parametrize("late", [0.0005, 0.008])
def test_three_looks_on_the_beat_find_a_silence_whose_last_beat_came_a_moment_late(
    late: float,
) -> None:
    context = Context(0.0, "seed")
    node = beating(0.15)(0, (0, 1), context, {})
    start(node)
    context.now = late
    deliver(node, 1, Beat(1, 1))
    for look in (0.05, 0.1):
        context.now = look
        fire(node, "tick")
        assert not node.suspected, f"suspected after {look - late:g} s"
    context.now = 0.15
    fire(node, "tick")
    assert node.suspected == {1}


def beat_of_a_leader(silence: float | None) -> float:
    """Seconds from one message of Raft's leader to all to the next, while nothing happens."""
    make = agreeing(silence)
    leader = make(0, (0,), Context(0.0, "seed"), found(make, 0, (0,)))
    start(leader)
    effects = fire(leader, "election")
    return next(e.after for e in effects if isinstance(e, SetTimer) and e.timer == "beat")


def test_where_silence_is_watched_the_leader_of_the_agreement_beats_half_as_often() -> None:
    assert beat_of_a_leader(0.15) == 2 * beat_of_a_leader(None) == pytest.approx(0.2)
