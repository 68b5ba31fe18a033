"""Raft's log by hand: each test is a sentence of the paper, §5.3 or §5.4."""

from __future__ import annotations

from typing import Any

import pytest
from by_hand import (
    append,
    applied,
    disk,
    entries,
    leader,
    node,
    position,
    receivers,
    sent,
    terms,
    timers,
    yes,
)

from labkit.protocols.effects import Persist, Send, Splice, Stored, deliver, fire
from labkit.protocols.raft.machine import Put
from labkit.protocols.raft.messages import Appended, AppendEntries, Entry

X = Put("x", 1)


def propose(made: Any, command: Any = X) -> list[Any]:
    return list(made.propose(command))


# -- §5.3: the leader


def test_a_leader_appends_a_command_to_its_disk_and_then_sends_it_to_all_others() -> None:
    n = leader(n=3, log=(1,))
    for follower in (1, 2):
        deliver(n, follower, yes(2, 2))

    effects = propose(n)

    assert effects[0] == Persist(log=Splice(3, (Entry(2, X),)))
    assert sent(effects) == [append(2, 2, 2, [Entry(2, X)], commit=2)]
    assert receivers(effects) == [1, 2]


@pytest.mark.parametrize(
    ("size", "acknowledged", "committed"),
    [(1, 0, True), (2, 0, False), (2, 1, True), (3, 0, False), (3, 1, True), (4, 1, False),
     (4, 2, True), (5, 1, False), (5, 2, True), (5, 4, True), (7, 2, False), (7, 3, True)],
)  # fmt: skip
def test_an_entry_is_committed_once_a_majority_has_it(
    size: int, acknowledged: int, committed: bool
) -> None:
    n = leader(n=size)
    propose(n)

    for follower in range(1, acknowledged + 1):
        deliver(n, follower, yes(1, 2))

    assert n.commit_index == (2 if committed else 0)


def test_a_commit_takes_all_entries_before_it_along_also_those_of_earlier_leaders() -> None:
    n = leader(log=(1, 2))

    effects = deliver(n, 1, yes(3, 3))

    assert applied(effects) == [1, 2, 3]


def test_a_leader_tells_with_its_next_message_how_far_it_has_committed() -> None:
    n = leader()
    deliver(n, 1, yes(1, 1))

    (beat,) = sent(fire(n, "beat"), AppendEntries)[:1]

    assert beat.commit == 1


def test_a_beat_brings_what_was_lost_on_the_way() -> None:
    """A leader tries again for ever, also after it has answered the client."""
    n = leader(log=(1,))
    propose(n)

    effects = fire(n, "beat")

    assert receivers(effects, AppendEntries) == [1, 2]
    assert [m.entries for m in sent(effects, AppendEntries)] == [tuple(n.log[1:])]


def test_each_follower_gets_what_it_lacks() -> None:
    n = leader(log=(1,))
    deliver(n, 1, yes(2, 2))

    messages = sent(propose(n), AppendEntries)

    assert [(m.prev_index, len(m.entries)) for m in messages] == [(2, 1), (1, 2)]


def test_a_long_way_to_catch_up_is_gone_in_batches() -> None:
    n = leader(log=(1,) * 10, batch=4)

    (more,) = sent(deliver(n, 1, Appended(2, False, 1, 1)))
    (rest,) = sent(deliver(n, 1, yes(2, 4)))

    assert (more.prev_index, len(more.entries)) == (0, 4)
    assert (rest.prev_index, len(rest.entries)) == (4, 4)


def test_an_answer_that_comes_twice_is_answered_once() -> None:
    n = leader(log=(1,) * 10, batch=4)
    deliver(n, 1, Appended(2, False, 1, 1))
    deliver(n, 1, yes(2, 4))

    effects = deliver(n, 1, yes(2, 4))

    assert effects == []


def test_a_late_answer_takes_nothing_back() -> None:
    n = leader(log=(1, 1))
    deliver(n, 1, yes(2, 3))

    deliver(n, 1, yes(2, 1))
    deliver(n, 1, Appended(2, False, 1, 1))

    assert (n.match_index[1], n.next_index[1]) == (3, 4)


def test_an_answer_from_an_earlier_term_says_nothing() -> None:
    n = leader(n=3, log=(1, 1))

    effects = deliver(n, 1, yes(1, 3))

    assert effects == []
    assert n.match_index[1] == 0


# -- §5.3: a follower


@pytest.mark.parametrize(
    ("prev", "prev_term", "accepted"),
    [(0, 0, True), (1, 1, True), (2, 2, True), (2, 1, False), (1, 2, False), (3, 2, False)],
)
def test_entries_are_refused_where_the_one_before_them_is_another(
    prev: int, prev_term: int, accepted: bool
) -> None:
    n = node(log=(1, 2))

    (answer,) = sent(deliver(n, 1, append(3, prev, prev_term, [])))

    assert answer.success == accepted


@pytest.mark.parametrize(
    ("prev", "prev_term", "new", "after"),
    [
        (2, 2, (3,), (1, 2, 3)),  # appends
        (1, 1, (3, 4), (1, 3, 4)),  # deletes the conflict and all that follows
        (0, 0, (1,), (1, 2)),  # has it already, and keeps what follows
        (0, 0, (3,), (3,)),
        (1, 1, (2, 3), (1, 2, 3)),  # has half of it
    ],
)
def test_a_conflict_goes_and_what_is_there_already_stays(
    prev: int, prev_term: int, new: tuple[int, ...], after: tuple[int, ...]
) -> None:
    """The cases of etcd's TestFollowerAppendEntries_5.3."""
    n = node(log=(1, 2), term=4)
    before = {"log": Stored(1, entries(1, 2))}
    sent_entries = [entries(*[0] * prev, *new)[prev + k] for k in range(len(new))]

    effects = deliver(n, 1, append(4, prev, prev_term, sent_entries))

    assert terms(n) == list(after)
    assert [e.term for e in disk(effects, before)["log"].items] == list(after)
    assert sent(effects) == [yes(4, prev + len(new))]


def test_entries_are_on_the_disk_before_they_are_acknowledged() -> None:
    n = node(term=1)

    effects = deliver(n, 1, append(1, 0, 0, entries(1, 1)))

    assert position(effects, Persist) < position(effects, Send)


def test_what_comes_twice_is_written_once_and_acknowledged_twice() -> None:
    n = node(term=1)
    message = append(1, 0, 0, entries(1, 1))
    deliver(n, 1, message)

    effects = deliver(n, 1, message)

    assert sent(effects) == [yes(1, 2)]
    assert not any(isinstance(e, Persist) for e in effects)


def test_a_late_shorter_message_of_the_same_leader_cuts_nothing_off() -> None:
    n = node(term=1)
    deliver(n, 1, append(1, 0, 0, entries(1, 1, 1)))

    deliver(n, 1, append(1, 0, 0, entries(1)))

    assert terms(n) == [1, 1, 1]


def test_a_message_of_an_earlier_term_is_refused_and_puts_nothing_off() -> None:
    n = node(log=(1, 2), term=5)

    effects = deliver(n, 1, append(4, 2, 2, entries(1, 2, 4)[2:]))

    assert effects == [Send(1, Appended(5, False, 0, 0))]
    assert terms(n) == [1, 2]


def test_entries_put_the_election_off_and_name_the_leader() -> None:
    n = node(term=1)

    effects = deliver(n, 2, append(1, 0, 0, []))

    assert timers(effects) == ["election"]
    assert n.leader == 2


def test_a_follower_applies_what_the_leader_has_committed_in_the_order_of_the_log() -> None:
    n = node(term=1)

    effects = deliver(n, 1, append(1, 0, 0, entries(1, 1, 1), commit=2))

    assert applied(effects) == [1, 2]
    assert n.machine.values == {"x": "2/1"}


def test_a_follower_commits_no_further_than_a_message_has_shown_to_match() -> None:
    """What follows in its log may be another leader's, which this one has yet to replace."""
    n = node(log=(1, 2, 2), term=3)

    deliver(n, 1, append(3, 1, 1, [], commit=3))

    assert n.commit_index == 1


def test_a_restart_knows_the_log_and_not_what_is_committed() -> None:
    n = node(log=(1, 1))
    assert (terms(n), n.commit_index, n.machine.values) == ([1, 1], 0, {})

    effects = deliver(n, 1, append(1, 2, 1, [], commit=2))

    assert applied(effects) == [1, 2]


# -- §5.4.2, figure 8: entries of earlier terms


def test_figure_8_an_entry_of_an_earlier_term_is_not_committed_by_counting() -> None:
    """(c): S1 leads term 4, and its entry of term 2 is on a majority. (e): one of term 4 is."""
    n = leader(n=5, log=(1, 2), term=3)

    for follower in (1, 2):
        deliver(n, follower, yes(4, 2))
    counted = n.commit_index
    for follower in (1, 2):
        deliver(n, follower, yes(4, 3))

    assert counted == 0
    assert n.commit_index == 3


def test_a_leader_begins_its_term_with_an_entry_of_its_own() -> None:
    """§8: without one it could wait for ever to commit what it has inherited."""
    n = leader(log=(1, 2))

    assert n.log[-1] == Entry(3, None)
