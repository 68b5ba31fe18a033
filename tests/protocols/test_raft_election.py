"""Raft's election by hand: each test is a sentence of the paper, §5.1, §5.2 or §5.4.1."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from by_hand import entries, node, position, sent, timers

from labkit.protocols.effects import (
    Broadcast,
    CancelTimer,
    Context,
    Persist,
    Send,
    SetTimer,
    Stored,
    deliver,
    fire,
    start,
)
from labkit.protocols.raft import Election, Raft
from labkit.protocols.raft.messages import AppendEntries, Heartbeat, RequestVote, Vote

voter = partial(node, Election)


def candidate(n: int = 3, **stored: Any) -> Any:
    made = voter(n=n, **stored)
    fire(made, "election")
    assert made.role == "candidate"
    return made


def next_beat(leader: Any) -> SetTimer:
    return SetTimer("beat", leader.timeout / 3, periodic=True)


def elected(n: int = 3, **stored: Any) -> Any:
    made = candidate(n, **stored)
    for other in range(1, n // 2 + 1):
        deliver(made, other, Vote(made.term, True))
    assert made.role == "leader"
    return made


# -- §5.1: terms


@pytest.mark.parametrize("message", [RequestVote(5), Vote(5, False), Heartbeat(5)])
@pytest.mark.parametrize("make", [voter, candidate, elected])
def test_whoever_sees_a_higher_term_becomes_a_follower_in_it(make: Any, message: Any) -> None:
    n = make(n=5)

    effects = deliver(n, 1, message)

    assert (n.role, n.term) == ("follower", 5)
    assert effects[0] == Persist(term=5, voted_for=None)


@pytest.mark.parametrize("message", [Vote(2, True), Heartbeat(2)])
@pytest.mark.parametrize("make", [voter, candidate, elected])
def test_a_message_of_an_earlier_term_changes_nothing(make: Any, message: Any) -> None:
    n = make(term=3)
    before = n.role, n.term, n.voted_for, set(n.votes)

    effects = deliver(n, 1, message)

    assert effects == []
    assert (n.role, n.term, n.voted_for, n.votes) == before


def test_a_request_of_an_earlier_term_is_refused_with_the_term_of_today() -> None:
    n = voter(term=3)

    effects = deliver(n, 1, RequestVote(2))

    assert effects == [Send(1, Vote(3, False))]


def test_a_term_outlives_a_crash() -> None:
    n = voter(term=7, voted_for=2)

    effects = fire(n, "election")

    assert effects[0] == Persist(term=8, voted_for=0)


# -- §5.2: a follower


def test_a_node_begins_as_a_follower() -> None:
    n = voter()

    assert (n.role, n.term, n.voted_for, n.leader) == ("follower", 0, None, None)


def test_time_outs_are_drawn_from_a_fixed_interval() -> None:
    drawn = set()
    for seed in range(20):
        n = Election(0, (0, 1, 2), Context(0.0, seed), {}, timeout=0.2)

        (timer,) = start(n)

        assert isinstance(timer, SetTimer)
        assert 0.2 <= timer.after <= 0.4
        drawn.add(timer.after)
    assert len(drawn) == 20


def test_a_beat_of_the_leader_puts_the_election_off() -> None:
    n = voter(term=3)

    effects = deliver(n, 2, Heartbeat(3))

    assert timers(effects) == ["election"]
    assert n.leader == 2


# -- §5.2: a candidate


def test_a_candidate_raises_its_term_votes_for_itself_and_asks_all_others() -> None:
    n = voter(n=5, term=3)

    effects = fire(n, "election")

    assert (n.role, n.term, n.voted_for, n.votes) == ("candidate", 4, 0, {0})
    assert effects[0] == Persist(term=4, voted_for=0)
    assert Broadcast((1, 2, 3, 4), RequestVote(4)) in effects
    assert timers(effects) == ["election"]


@pytest.mark.case(48)
@pytest.mark.parametrize(
    ("size", "votes", "wins"),
    [(1, 0, True), (2, 0, False), (2, 1, True), (3, 0, False), (3, 1, True), (4, 1, False),
     (4, 2, True), (5, 1, False), (5, 2, True), (7, 2, False), (7, 3, True)],
)  # fmt: skip
def test_a_majority_makes_a_leader(size: int, votes: int, wins: bool) -> None:
    n = voter(n=size)
    fire(n, "election")

    for other in range(1, votes + 1):
        deliver(n, other, Vote(1, True))

    assert n.role == ("leader" if wins else "candidate")


def test_a_vote_that_comes_twice_counts_once() -> None:
    n = candidate(n=5)

    for _ in range(4):
        deliver(n, 1, Vote(1, True))

    assert n.role == "candidate"


def test_refusals_are_no_votes() -> None:
    n = candidate(n=5)

    for other in (1, 2, 3):
        deliver(n, other, Vote(1, False))

    assert n.role == "candidate"


def test_votes_of_an_earlier_term_do_not_count() -> None:
    n = candidate(n=5)
    fire(n, "election")

    for other in (1, 2, 3):
        deliver(n, other, Vote(1, True))

    assert (n.role, n.term) == ("candidate", 2)


def test_a_candidate_yields_to_the_leader_of_its_term_and_keeps_its_vote() -> None:
    n = candidate()

    deliver(n, 2, Heartbeat(1))

    assert (n.role, n.leader, n.voted_for) == ("follower", 2, 0)


@pytest.mark.case(45)
def test_a_split_vote_ends_with_another_term_and_another_draw() -> None:
    n = candidate(n=5)

    effects = fire(n, "election")

    assert (n.role, n.term, n.votes) == ("candidate", 2, {0})
    assert timers(effects) == ["election"]


# -- §5.2: a leader


def test_a_leader_says_so_at_once_and_beats_several_times_in_a_time_out() -> None:
    n = candidate()

    effects = deliver(n, 1, Vote(1, True))

    assert Broadcast((1, 2), Heartbeat(1)) in effects
    assert CancelTimer("election") in effects
    assert [e for e in effects if isinstance(e, SetTimer)] == [next_beat(n)]


def test_a_leader_beats_on_and_on() -> None:
    n = elected()

    effects = fire(n, "beat")

    assert effects == [Broadcast((1, 2), Heartbeat(1)), next_beat(n)]


def test_a_leader_that_steps_down_stops_its_beats_and_waits_for_another() -> None:
    n = elected()

    effects = deliver(n, 1, RequestVote(2))

    assert CancelTimer("beat") in effects
    assert "election" in timers(effects)


# -- §5.2: a voter


def test_one_vote_in_a_term_first_come_first_served() -> None:
    n = voter()

    first, second, again, later = (
        sent(deliver(n, who, RequestVote(term))) for who, term in ((1, 1), (2, 1), (1, 1), (2, 2))
    )

    assert first == [Vote(1, True)]
    assert second == [Vote(1, False)]
    assert again == [Vote(1, True)]  # its answer was lost
    assert later == [Vote(2, True)]  # another term, another vote


def test_a_candidate_has_given_its_vote_to_itself() -> None:
    n = candidate()

    assert sent(deliver(n, 1, RequestVote(1))) == [Vote(1, False)]


def test_a_vote_is_on_the_disk_before_it_is_sent() -> None:
    n = voter(term=1)

    effects = deliver(n, 1, RequestVote(1))

    assert effects[0] == Persist(term=1, voted_for=1)
    assert position(effects, Persist) < position(effects, Send)


@pytest.mark.case(47)
def test_a_vote_outlives_a_crash() -> None:
    n = voter(term=1, voted_for=1)

    assert sent(deliver(n, 2, RequestVote(1))) == [Vote(1, False)]


def test_whoever_gives_its_vote_puts_its_own_candidacy_off_and_who_refuses_does_not() -> None:
    n = voter()

    assert timers(deliver(n, 1, RequestVote(1))) == ["election"]
    assert timers(deliver(n, 2, RequestVote(1))) == []


# -- §5.4.1: only who has all committed entries can win


@pytest.mark.parametrize(
    ("last_term", "last_index", "granted"),
    [(2, 2, True), (2, 3, True), (3, 1, True), (2, 1, False), (1, 9, False), (0, 0, False)],
)
def test_a_vote_needs_a_log_that_is_as_current(
    last_term: int, last_index: int, granted: bool
) -> None:
    """The voter's log has two entries, of terms 1 and 2."""
    n = node(Raft, term=3, log=Stored(1, entries(1, 2)))

    effects = deliver(n, 1, RequestVote(4, last_term, last_index))

    assert sent(effects) == [Vote(4, granted)]


def test_a_refused_candidate_still_moves_the_voter_to_its_term() -> None:
    """Else a stuck node with a higher term could never be outvoted (etcd #8501)."""
    n = node(Raft, term=3, log=Stored(1, entries(1, 2)))

    effects = deliver(n, 1, RequestVote(9, 1, 1))

    assert sent(effects) == [Vote(9, False)]
    assert n.term == 9


def test_a_candidate_tells_of_its_last_entry() -> None:
    n = node(Raft, log=(1, 1, 2), pre_vote=False)

    effects = fire(n, "election")

    assert sent(effects) == [RequestVote(3, last_term=2, last_index=3)]


# -- illegal edges


def test_a_leader_does_not_stand_and_only_a_candidate_wins() -> None:
    leading, following = elected(), voter()

    with pytest.raises(AssertionError, match="it leads already"):
        list(leading.become_candidate())
    with pytest.raises(AssertionError, match="a follower cannot win"):
        list(following.become_leader())


def test_whoever_sends_entries_in_a_term_is_its_leader() -> None:
    n = node(Raft, term=3)

    deliver(n, 2, AppendEntries(3, 0, 0, (), 0, 1))

    assert (n.role, n.leader) == ("follower", 2)
